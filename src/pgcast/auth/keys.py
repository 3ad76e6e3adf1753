"""The configured secret to the key that a token's header asks for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Final

from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey

from pgcast.model.errors import SettingsError

HMAC_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})


@dataclass(frozen=True, slots=True)
class Keys:
    """What tokens may be signed with.

    Attributes:
        shared: The shared secret; None where none is configured, and then no token is accepted.
    """

    shared: OctKey | None = field(default=None, repr=False)

    def key_for(self, algorithm: str) -> OctKey | None:
        """Return the key for an algorithm of a token's header, None where there is none.

        A key id needs no look at it: a token of these algorithms with an unknown one falls back to the shared secret.
        """
        return self.shared if algorithm in HMAC_ALGORITHMS else None


def shared_secret(secret: str) -> Keys:
    """Make the keys of a server that knows one shared secret.

    Args:
        secret: Of any length; empty means none. How short is too short is for whoever configures it to be warned of.

    Raises:
        SettingsError: It is a public key or a certificate: whoever can read that could sign tokens.
    """
    if not secret:
        return Keys()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            return Keys(OctKey.import_key(secret.encode()))
        except ValueError:
            raise SettingsError(
                "JWT_SECRET is a public key or a certificate", hint="JWT_SECRET is the secret that signs the tokens"
            ) from None
