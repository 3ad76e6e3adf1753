"""Where a request carries its token: the parameters and headers of a handshake, the headers of an HTTP request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEME: Final = "bearer "

# Never of interest to a policy, and a secret.
_TOKEN_HEADERS: Final = frozenset({"x-api-key"})
_MAX_HEADERS_CHARS: Final = 8192


def cleaned(token: str) -> str:
    """Return a token as it is compared and verified: percent-decoded, without white space around it."""
    return unquote(token).strip()


def handshake_token(query: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """Find the token of a WebSocket handshake.

    Args:
        query: The parameters of the URL. `token` is how the oldest clients call `apikey`.
        headers: By lower-case name, or case-insensitive. `x-api-key` wins over the parameters.

    Returns:
        The token, cleaned; None where there is none ("API key is missing").
    """
    for found in (headers.get("x-api-key"), query.get("apikey"), query.get("token")):
        token = cleaned(found or "")
        if token:
            return token
    return None


def http_token(headers: Mapping[str, str]) -> str | None:
    """Find the token of an HTTP request: `Authorization: Bearer`, else the header `apikey`.

    An empty `Authorization`, which old clients send, or one of another scheme counts as absent.

    Args:
        headers: By lower-case name, or case-insensitive.
    """
    authorization = headers.get("authorization", "").strip()
    if authorization[: len(_SCHEME)].lower() == _SCHEME:
        token = cleaned(authorization[len(_SCHEME) :])
        if token:
            return token
    return cleaned(headers.get("apikey", "")) or None


def policy_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that policies can read as `request.headers`: those that begin with `x-`, the key aside.

    Args:
        headers: By lower-case name. More than 8192 characters of them are cut off, whole headers at a time.
    """
    kept: dict[str, str] = {}
    room = _MAX_HEADERS_CHARS
    for name, value in headers.items():
        if name.startswith("x-") and name not in _TOKEN_HEADERS:
            room -= len(name) + len(value)
            if room < 0:
                break
            # What is not UTF-8 came as surrogates, which no database takes.
            kept[name] = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return kept
