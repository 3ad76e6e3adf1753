"""What verifies clients, from what the settings say; and a key set from a URL.

A URL is fetched by one GET, within a deadline and a size, from http and https alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import httpx

from pgcast.auth.keys import Keys, read_key_set, shared_secret
from pgcast.auth.opaque import OpaqueKeys
from pgcast.auth.tokens import Tokens
from pgcast.engine.authentication import Authenticator
from pgcast.model.errors import KeySetUnavailable, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMES: Final = frozenset({"http", "https"})

MAX_BYTES: Final = 1 << 20
MAX_REDIRECTS: Final = 3
TIMEOUT_S: Final = 4.0


def authenticator_by(
    *,
    secret: str,
    key_set: str,
    validators: Mapping[str, object],
    publishable: Iterable[str],
    secret_keys: Iterable[str],
) -> Authenticator:
    """Make what verifies clients' tokens, on the loop it will run on.

    Args:
        secret: The shared secret; empty for none.
        key_set: A key set, or the URL of one; empty for none.
        validators: Claims that a token must have.
        publishable: Opaque keys of the role `anon`.
        secret_keys: Opaque keys of the role `service_role`.

    Raises:
        SettingsError: The secret or the key set cannot be used.
    """
    keys, given = shared_secret(secret), key_set.strip()
    is_inline = given.startswith("{")
    if is_inline:
        keys = Keys(keys.shared, read_key_set(given))
    source = UrlKeySource(given) if given and not is_inline else None
    return Authenticator(Tokens(keys, validators, OpaqueKeys(publishable, secret_keys)), source)


class UrlKeySource:
    """A KeySource on a URL.

    Args:
        url: Of the key set; http or https.
        timeout_s: The deadline of one fetch, redirects included.

    Raises:
        SettingsError: The URL is of another scheme, or none.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL:
            raise SettingsError("JWT_JWKS is no URL", hint="https://host/path, or the key set itself") from None
        if self._url.scheme not in SCHEMES or not self._url.host:
            raise SettingsError("JWT_JWKS is a URL of the wrong scheme", hint="https://host/path, or http://host/path")
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False)

    async def fetch(self) -> bytes:
        """Return the text of the key set.

        Raises:
            KeySetUnavailable: It could not be fetched; the message says why.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(self._url)
        except TimeoutError:
            raise KeySetUnavailable(f"{_place(self._url)}: no answer within {self._timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise KeySetUnavailable(f"{_place(self._url)}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections; twice is safe."""
        await self._client.aclose()

    async def _follow(self, url: httpx.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            async with self._client.stream("GET", url, headers={"accept": "application/json"}) as response:
                if not response.has_redirect_location:
                    return await _content(response)
                target = url.join(response.headers["location"])
            if target.scheme not in SCHEMES or (url.scheme == "https" and target.scheme != "https"):
                raise KeySetUnavailable(f"{_place(url)}: redirects to {target.scheme}, which is not followed")
            url = target
        raise KeySetUnavailable(f"{_place(self._url)}: more than {MAX_REDIRECTS} redirects")


async def _content(response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise KeySetUnavailable(f"{_place(response.url)}: answers {response.status_code}")
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > MAX_BYTES:
            raise KeySetUnavailable(f"{_place(response.url)}: more than {MAX_BYTES} bytes")
    return bytes(content)


def _place(url: httpx.URL) -> str:
    """Name a URL in a message: without user, password and parameters."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
