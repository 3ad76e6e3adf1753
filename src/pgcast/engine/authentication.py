"""Who is asking, decided at once from what is known, or after one more look at the key set.

Keys may rotate: the key set is fetched again in the background, and when a token names a key that is not known. However
many tokens name unknown keys, that happens at most once every few seconds. While it cannot be fetched, the keys of the
last time go on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pgcast.auth.keys import read_key_set
from pgcast.logs import get_logger
from pgcast.model.errors import KeySetUnavailable, PgcastError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.auth.tokens import Tokens
    from pgcast.engine.ports import KeySource
    from pgcast.model.claims import Claims

log = get_logger(__name__)

REFRESH_S: Final = 300.0
"""How often the key set is fetched in the background."""

MISS_S: Final = 5.0
"""How often, at most, because a token names an unknown key; and how soon again when fetching failed."""

WAIT_S: Final = 5.0
"""How long a token waits for that."""


class Authenticator:
    """Verifies tokens for all doors: handshakes, joins, pushes, HTTP requests.

    Args:
        tokens: Verifies, and remembers what it verified.
        source: Where the key set comes from; None where the keys never change.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(self, tokens: Tokens, source: KeySource | None = None, clock: Callable[[], float] = time.time) -> None:
        self._tokens = tokens
        self._source = source
        self._clock = clock
        self._fetching: asyncio.Task[None] | None = None
        self._fetched_at_s = float("-inf")
        self._has_failed = False

    def now(self) -> float:
        """Return the time that tokens are measured by: seconds since 1970-01-01 UTC."""
        return self._clock()

    def check(self, token: str) -> Claims:
        """Say at once who is asking.

        Args:
            token: A token or opaque key, cleaned.

        Raises:
            UnknownKey: It names a key that is not known; `check_later` may know better.
            TokenError: It is not to be trusted.
        """
        return self._tokens.check(token, self._clock())

    async def check_later(self, token: str) -> Claims:
        """Say who is asking, after a look at the key set if one is due.

        Raises:
            TokenError: It is not to be trusted.
            KeySetUnavailable: It names a key that is not known, and the key set cannot be fetched: ask again later.
        """
        try:
            return self.check(token)
        except UnknownKey:
            if self._source is None:
                raise
        fetching = self._fetch_if_due(MISS_S)
        if fetching is not None:
            await asyncio.wait({fetching}, timeout=WAIT_S)
        try:
            return self.check(token)
        except UnknownKey:
            if self._has_failed or self._fetching is not None:
                raise KeySetUnavailable("The keys that verify tokens cannot be fetched at present") from None
            raise

    async def load(self) -> None:
        """Fetch the key set, unless that was done a moment ago; when it returns, that has succeeded or failed."""
        fetching = self._fetch_if_due(MISS_S / 2)
        if fetching is not None:
            await asyncio.wait({fetching})

    async def run(self) -> None:
        """Keep the key set current, for ever."""
        while self._source is not None:
            await self.load()
            await asyncio.sleep(MISS_S if self._has_failed else REFRESH_S)

    async def close(self) -> None:
        """End what is under way, and close the source; twice is safe."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        if self._source is not None:
            await self._source.close()

    def _fetch_if_due(self, every_s: float) -> asyncio.Task[None] | None:
        """Begin to fetch, or join who does; None if that has been done a moment ago."""
        if self._source is not None and self._fetching is None:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._fetched_at_s < every_s:
                return None
            self._fetched_at_s = now_s
            self._fetching = asyncio.create_task(self._fetch(self._source), name="key set")
        return self._fetching

    async def _fetch(self, source: KeySource) -> None:
        try:
            by_id = read_key_set(await source.fetch())
        except PgcastError as error:
            if not self._has_failed:
                log.warning(
                    "the key set cannot be used; the keys of the last time go on",
                    error=error.message,
                    hint=error.hint or None,
                )
            self._has_failed = True
        else:
            if self._has_failed:
                log.info("the key set can be used again")
            self._has_failed = False
            keys = replace(self._tokens.keys, by_id=by_id)
            if keys != self._tokens.keys:
                log.info("the key set has other keys than before", keys=len(by_id))
                self._tokens.replace_keys(keys)
        finally:
            self._fetching = None
