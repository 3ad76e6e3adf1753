"""A JSON Web Token (RFC 7519) to the claims of who is asking, at a given time.

The words of every refusal are those that clients of the realtime protocol know: the message is the `error` of a refused
handshake, `join_code` the code of a refused join. A refusal never repeats the token or one of its claims.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import unquote

import msgspec
from joserfc import jws
from joserfc.errors import JoseError

from pgcast.auth.keys import HMAC_ALGORITHMS
from pgcast.model.claims import Claims
from pgcast.model.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.auth.keys import Keys

MAX_TOKEN_CHARS: Final = 65_536

_MAX_KID_CHARS: Final = 64
_MAX_EXP: Final = 2**53  # beyond it a number of seconds is no longer exact, nor a time

# Header parameters that are not registered are nobody's business; those that must be understood (`crit`) are checked.
_REGISTRY: Final = jws.JWSRegistry(algorithms=HMAC_ALGORITHMS, strict_check_header=False)
_CLAIMS: Final = msgspec.json.Decoder(dict[str, Any])

_NOT_A_JWT: Final = "The token provided is not a valid JWT"
_FIELDS_REQUIRED: Final = "Fields `role` and `exp` are required in JWT"


def handshake_token(query: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """Find the token of a WebSocket handshake.

    Args:
        query: The parameters of the URL. `token` is how the oldest clients call `apikey`.
        headers: By lower-case name, or case-insensitive. `x-api-key` wins over the parameters.

    Returns:
        The token, percent-decoded and stripped; None where there is none ("API key is missing").
    """
    for found in (headers.get("x-api-key"), query.get("apikey"), query.get("token")):
        token = unquote(found or "").strip()
        if token:
            return token
    return None


def verify(token: str, keys: Keys, now: float, validators: Mapping[str, object]) -> Claims:
    """Check a token's signature, its expiry and the claims that are demanded.

    Args:
        token: The compact form: header, claims and signature in base64url with dots between.
        keys: What it may be signed with.
        now: Seconds since 1970-01-01 UTC.
        validators: Claims that must be there with exactly this value (JSON's equality).

    Raises:
        TokenError: It is not to be trusted.
    """
    if len(token) > MAX_TOKEN_CHARS:
        _malformed(f"a token has at most {MAX_TOKEN_CHARS} characters")
    claims = _read_claims(_signed_payload(token, keys))
    role, expires_at = claims.get("role"), claims.get("exp")
    if not isinstance(role, str) or not role or expires_at is None:
        raise TokenError(_FIELDS_REQUIRED)
    if abs(expires_at) > _MAX_EXP:
        raise TokenError("Token expiration time is invalid")
    if round(expires_at) <= now:
        raise TokenError("Token has expired")
    for name, wanted in validators.items():
        if name not in claims or _canonical(claims[name]) != _canonical(wanted):
            _malformed(f"the claim {name!r} must have the value that JWT_CLAIM_VALIDATORS demands")
    return Claims(role, float(round(expires_at)), claims)


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
    key = keys.key_for(header["alg"])
    if key is None:
        raise TokenError(_no_signer(header.get("kid")), code="JwtSignerError", hint="HS256, HS384 or HS512")
    if not jws.validate_compact(parts, key, registry=_REGISTRY):
        raise TokenError("Failed to validate JWT signature", code="JwtSignatureError")
    return parts.payload


def _read_claims(payload: bytes) -> dict[str, Any]:
    """Take the claims apart; `exp` and `iat` are numbers where they are there and not null."""
    try:
        claims = _CLAIMS.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        _malformed("the claims must be a JSON object")
    for name in ("exp", "iat"):
        value = claims.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            _malformed(f"the claim {name!r} must be a number")
    return claims


def _malformed(hint: str) -> NoReturn:
    raise TokenError(_NOT_A_JWT, code="MalformedJWT", hint=hint) from None


def _no_signer(kid: str | None) -> str:
    of_key = f' for key ID (kid) "{kid[:_MAX_KID_CHARS]}"' if kid else ""
    return f"Failed to generate JWT signer{of_key}, check your JWT secret or JWKS configuration"


def _canonical(value: object) -> str:
    """Return a value as JSON with sorted keys: to Python `True == 1`, to JSON they are different."""
    return json.dumps(value, sort_keys=True)
