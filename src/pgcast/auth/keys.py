"""The configured secret and key set to the key that a token's header asks for.

Which key verifies a signature follows from the kind of algorithm, never from the token alone: an HMAC algorithm gets a
secret, the others a public key of their own type. So a public key, which everybody has, never serves as a secret.

Source: RFC 7517 (JSON Web Key), RFC 7518 section 3.1 (algorithms), RFC 8037 (EdDSA).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey

from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc.jwk import Key

HMAC_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})
RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512"})
CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
EDWARDS: Final = "EdDSA"
ALGORITHMS: Final = HMAC_ALGORITHMS | RSA_ALGORITHMS | CURVES.keys() | {EDWARDS}

MAX_KEYS: Final = 100

_EDWARDS_CURVES: Final = frozenset({"Ed25519", "Ed448"})
_KEY_SET: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Keys:
    """What tokens may be signed with.

    Attributes:
        shared: The shared secret; None where none is configured.
        by_id: The keys of the key set, by their `kid`.
    """

    shared: OctKey | None = field(default=None, repr=False)
    by_id: Mapping[str, tuple[Key, ...]] = field(default_factory=dict, repr=False)

    def key_for(self, algorithm: str, key_id: str | None = None) -> Key | None:
        """Return the key for the algorithm and key id of a token's header, None where there is none.

        A token of the HMAC algorithms with an unknown key id falls back to the shared secret.
        """
        for key in self.by_id.get(key_id, ()) if key_id is not None else ():
            if _serves(key, algorithm):
                return key
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


def read_key_set(text: str | bytes) -> Mapping[str, tuple[Key, ...]]:
    """Read a JSON Web Key Set, `{"keys": [...]}`: the keys that verify signatures, by `kid`.

    Keys of other types and uses are left out, and so are those without a `kid`, because no token could name them.

    Raises:
        SettingsError: It is no key set, or no key of it can be used. The message repeats nothing of it.
    """
    try:
        listed = _KEY_SET.decode(text).get("keys")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise SettingsError(
            "not a key set", hint='a key set is a JSON object such as {"keys":[{"kty":"EC","kid":...}]}'
        )
    if len(listed) > MAX_KEYS:
        raise SettingsError(f"the key set has {len(listed)} keys", hint=f"at most {MAX_KEYS} are read")
    by_id: dict[str, tuple[Key, ...]] = {}
    for jwk in listed:
        key = _read_key(jwk)
        if key is not None and key.kid is not None:
            by_id[key.kid] = (*by_id.get(key.kid, ()), key)
    if not by_id:
        raise SettingsError(
            "no key of the key set can verify tokens",
            hint="a key needs a `kid` and the type RSA, EC (P-256, P-384, P-521), OKP (Ed25519, Ed448) or oct",
        )
    return by_id


def _read_key(jwk: object) -> Key | None:
    """Return a key; None for one that nobody can use to verify a token."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        try:
            key = JWKRegistry.import_key(jwk)
        except (JoseError, ValueError, TypeError, KeyError):
            return None
    return key if any(_serves(key, algorithm) for algorithm in ALGORITHMS) else None


def _serves(key: Key, algorithm: str) -> bool:
    """Say whether a key is of the algorithm's type, and meant for it: RFC 7517, `use`, `key_ops` and `alg`."""
    operations = key.get("key_ops")
    if key.get("use") not in {None, "sig"} or (operations is not None and "verify" not in operations):
        return False
    if isinstance(key, OctKey):
        fits = algorithm in HMAC_ALGORITHMS
    elif isinstance(key, RSAKey):
        fits = algorithm in RSA_ALGORITHMS
    elif isinstance(key, ECKey):
        fits = CURVES.get(algorithm) == key.curve_name
    else:
        fits = isinstance(key, OKPKey) and algorithm == EDWARDS and key.curve_name in _EDWARDS_CURVES
    # RFC 9864 names an Edwards curve where RFC 8037 named the family.
    return fits and (key.alg in {None, algorithm} or (algorithm == EDWARDS and key.alg in _EDWARDS_CURVES))
