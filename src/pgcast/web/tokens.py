"""The token of an HTTP request to who is asking."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pgcast.auth.jwt import verify
from pgcast.model.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.auth.keys import Keys
    from pgcast.model.claims import Claims


def request_token(headers: Mapping[str, str]) -> str | None:
    """Find the token of a request.

    Args:
        headers: By lower-case name. `authorization` wins over `apikey`, unless it is empty: old clients send it so.

    Returns:
        The token, percent-decoded and stripped; None where there is none.
    """
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    bearer = credentials if scheme.lower() == "bearer" else ""
    for found in (bearer, headers.get("apikey", "")):
        token = unquote(found).strip()
        if token:
            return token
    return None


class TokenAuthorizer:
    """Lets those in who have a valid token; everybody where no keys are configured.

    Args:
        keys: What tokens may be signed with; None where nothing authenticates clients.
        validators: Claims that a token must have.
    """

    def __init__(self, keys: Keys | None, validators: Mapping[str, object]) -> None:
        self._keys = keys
        self._validators = validators

    async def __call__(self, headers: Mapping[str, str]) -> Claims | None:
        """Verify the token of a request.

        Raises:
            TokenError: There is none, or it is not to be trusted.
        """
        if self._keys is None:
            return None
        token = request_token(headers)
        if token is None:
            raise TokenError("API key is missing")
        return verify(token, self._keys, time.time(), self._validators)
