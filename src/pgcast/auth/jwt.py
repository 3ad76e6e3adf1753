"""A JSON Web Token (RFC 7519) to the claims of who is asking, at a given time.

The words of every refusal are those that clients of the realtime protocol know: the message is the `error` of a refused
handshake, `join_code` and `told` are what a refused join says. A refusal never repeats the token or one of its claims.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from pgcast.auth.keys import ALGORITHMS
from pgcast.model.claims import Claims
from pgcast.model.errors import TokenError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.auth.keys import Keys

MAX_TOKEN_CHARS: Final = 65_536

LEEWAY_S: Final = 5.0
"""How far the clock of whoever makes the tokens may be ahead of ours before its tokens count as not yet valid."""

_MAX_KID_CHARS: Final = 64
_MAX_TIME: Final = 2**53  # beyond it a number of seconds is no longer exact, nor a time


class _Registry(jws.JWSRegistry):
    """The algorithms that are accepted. That EdDSA has newer names in RFC 9864 is no reason to warn at each token."""

    def get_alg(self, name: str) -> Any:  # joserfc does not export its type
        return self.algorithms[name]


# Header parameters that are not registered are nobody's business; those that must be understood (`crit`) are checked.
_REGISTRY: Final = _Registry(algorithms=ALGORITHMS, strict_check_header=False)
_CLAIMS: Final = msgspec.json.Decoder(dict[str, Any])

_NOT_A_JWT: Final = "The token provided is not a valid JWT"
_FIELDS_REQUIRED: Final = "Fields `role` and `exp` are required in JWT"


def verify(token: str, keys: Keys, now: float, validators: Mapping[str, object]) -> Claims:
    """Check a token's signature, its times and the claims that are demanded.

    Args:
        token: The compact form: header, claims and signature in base64url with dots between.
        keys: What it may be signed with.
        now: Seconds since 1970-01-01 UTC.
        validators: Claims that must be there with exactly this value (JSON's equality); of the audience, which may be
            a list (RFC 7519 section 4.1.3), one element is enough.

    Raises:
        UnknownKey: It is signed with a key that is not among these.
        TokenError: It is not to be trusted.
    """
    if len(token) > MAX_TOKEN_CHARS:
        _malformed(f"a token has at most {MAX_TOKEN_CHARS} characters")
    claims = _read_claims(_signed_payload(token, keys))
    role, expires_at = claims.get("role"), claims.get("exp")
    if not isinstance(role, str) or not role or expires_at is None:
        raise TokenError(_FIELDS_REQUIRED)
    if abs(expires_at) > _MAX_TIME:
        raise TokenError("Token expiration time is invalid")
    if round(expires_at) <= now:
        raise expired(float(round(expires_at)), now)
    if claims.get("nbf") is not None and claims["nbf"] > now + LEEWAY_S:
        _malformed("the claim 'nbf' lies in the future: the token is not valid yet")
    for name, wanted in validators.items():
        if name not in claims or not _is_as_demanded(name, claims[name], wanted):
            _malformed(f"the claim {name!r} must have the value that JWT_CLAIM_VALIDATORS demands")
    return Claims(role, float(round(expires_at)), claims)


def expired(expires_at: float, now: float) -> TokenError:
    """Return the refusal of a token that is over."""
    return TokenError("Token has expired", told=f"Token has expired {int(max(0.0, now - expires_at))} seconds ago")


def _signed_payload(token: str, keys: Keys) -> bytes:
    """Return the bytes between the dots, if the signature holds."""
    try:
        parts = jws.extract_compact(token.encode(), registry=_REGISTRY)
        header = parts.headers()
        if not isinstance(header, dict):
            _malformed("the header must be a JSON object")
        _REGISTRY.check_header(header)
    except (JoseError, TypeError, ValueError, RecursionError):
        _malformed("header, claims and signature in base64url with dots between")
    algorithm, key_id = header["alg"], header.get("kid")
    key = keys.key_for(algorithm, key_id)
    if key is None:
        # Only a key that the token names may still come, and only for an algorithm that has keys at all.
        kind = UnknownKey if key_id and algorithm in ALGORITHMS else TokenError
        raise kind(_no_signer(key_id), code="JwtSignerError", hint=", ".join(sorted(ALGORITHMS)))
    try:
        is_signed = jws.validate_compact(parts, key, registry=_REGISTRY)
    except (JoseError, TypeError, ValueError):
        is_signed = False
    if not is_signed:
        raise TokenError("Failed to validate JWT signature", code="JwtSignatureError")
    return parts.payload


def _read_claims(payload: bytes) -> dict[str, Any]:
    """Take the claims apart; times are numbers where they are there and not null."""
    try:
        claims = _CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        _malformed("the claims must be a JSON object")
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            _malformed(f"the claim {name!r} must be a number")
    return claims


def _malformed(hint: str) -> NoReturn:
    raise TokenError(_NOT_A_JWT, code="MalformedJWT", hint=hint) from None


def _no_signer(kid: str | None) -> str:
    of_key = f' for key ID (kid) "{kid[:_MAX_KID_CHARS]}"' if kid else ""
    return f"Failed to generate JWT signer{of_key}, check your JWT secret or JWKS configuration"


def _is_as_demanded(name: str, found: object, wanted: object) -> bool:
    if _canonical(found) == _canonical(wanted):
        return True
    return name == "aud" and isinstance(found, list) and _canonical(wanted) in map(_canonical, found)


def _canonical(value: object) -> str:
    """Return a value as JSON with sorted keys: to Python `True == 1`, to JSON they are different."""
    return json.dumps(value, sort_keys=True)
