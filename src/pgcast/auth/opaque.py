"""Opaque keys (`sb_publishable_...`, `sb_secret_...`) to the role that they stand for.

They are no tokens and never expire: whoever has one is what the settings say.
"""

from __future__ import annotations

import hmac
import math
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pgcast.model.claims import Claims

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX: Final = "sb_"

PUBLISHABLE: Final = Claims("anon", math.inf, {"role": "anon"})
SECRET: Final = Claims("service_role", math.inf, {"role": "service_role"})


class OpaqueKeys:
    """The configured keys. They are kept as hashes, so that nothing can show them, and compared in constant time.

    Args:
        publishable: Keys of the role `anon`.
        secret: Keys of the role `service_role`.
    """

    def __init__(self, publishable: Iterable[str] = (), secret: Iterable[str] = ()) -> None:
        self._keys = [
            *((_digest(key), PUBLISHABLE) for key in publishable),
            *((_digest(key), SECRET) for key in secret),
        ]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def claims_of(self, key: str) -> Claims | None:
        """Return whom a key stands for; None if it is none of the configured ones."""
        digest = _digest(key)
        found = None
        for known, claims in self._keys:
            if hmac.compare_digest(known, digest):
                found = claims
        return found


def _digest(key: str) -> bytes:
    return sha256(key.encode(errors="surrogatepass")).digest()
