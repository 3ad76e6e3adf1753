"""A token or opaque key to the claims of who is asking, remembering what was verified.

Clients send the same token with every join, and old ones with every heartbeat; a thousand clients may share one. A
signature is checked once, and equal tokens give the same claims, the same object.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pgcast.auth.jwt import MAX_TOKEN_CHARS, expired, verify
from pgcast.auth.keys import Keys
from pgcast.auth.opaque import PREFIX, OpaqueKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.model.claims import Claims

MAX_CACHED_CHARS: Final = 16 << 20


class Tokens:
    """Verifies tokens.

    Args:
        keys: What tokens may be signed with.
        validators: Claims that a token must have.
        opaque: Keys that are no tokens.
        max_cached_chars: How long the tokens that are remembered may be together; the least used go first.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        validators: Mapping[str, object] | None = None,
        opaque: OpaqueKeys | None = None,
        max_cached_chars: int = MAX_CACHED_CHARS,
    ) -> None:
        self._keys = keys or Keys()
        self._validators = validators or {}
        self._opaque = opaque or OpaqueKeys()
        self._max_cached_chars = max_cached_chars
        # By a hash, so that no token stays in memory; with its length.
        self._verified: OrderedDict[bytes, tuple[Claims, int]] = OrderedDict()
        self._cached_chars = 0

    @property
    def keys(self) -> Keys:
        """What tokens may be signed with."""
        return self._keys

    def replace_keys(self, keys: Keys) -> None:
        """Take other keys from now on: what was verified with the old ones has to prove itself again."""
        self._keys = keys
        self._verified.clear()
        self._cached_chars = 0

    def check(self, token: str, now: float) -> Claims:
        """Say who is asking.

        Args:
            token: A token or opaque key, cleaned.
            now: Seconds since 1970-01-01 UTC.

        Raises:
            UnknownKey: It is signed with a key that is not known.
            TokenError: It is not to be trusted.
        """
        if token.startswith(PREFIX):
            claims = self._opaque.claims_of(token)
            if claims is not None:
                return claims
        if len(token) > MAX_TOKEN_CHARS:
            return verify(token, self._keys, now, self._validators)
        place = sha256(token.encode(errors="surrogatepass")).digest()
        known = self._verified.get(place)
        if known is not None:
            claims, _ = known
            if claims.expires_at > now:
                self._verified.move_to_end(place)
                return claims
            self._forget(place)
            raise expired(claims.expires_at, now)
        claims = verify(token, self._keys, now, self._validators)
        self._remember(place, claims, len(token))
        return claims

    def _remember(self, place: bytes, claims: Claims, length: int) -> None:
        self._verified[place] = (claims, length)
        self._cached_chars += length
        while self._cached_chars > self._max_cached_chars:
            self._forget(next(iter(self._verified)))

    def _forget(self, place: bytes) -> None:
        _, length = self._verified.pop(place)
        self._cached_chars -= length
