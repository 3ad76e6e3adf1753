"""The configuration in force: put there at the start, and read again on request while everything goes on.

A configuration counts as a whole or not at all: one with a mistake is refused, and the former one stays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgcast.logs import get_logger
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pgcast.engine.hub import Hub
    from pgcast.model.configuration import Configuration
    from pgcast.model.webhook import Webhook

log = get_logger(__name__)


class Configured:
    """Puts configurations in force.

    Args:
        hub: Serves the oldest topics that a configuration names.
        have: Has exactly these webhooks from now on, or raises and changes nothing.
        read: Reads the configuration again, in a thread; None where there is nothing to read.
    """

    def __init__(
        self,
        hub: Hub,
        have: Callable[[Sequence[Webhook]], Awaitable[None]],
        read: Callable[[], Configuration] | None,
    ) -> None:
        self._hub = hub
        self._have = have
        self._read = read
        self._is_wanted = asyncio.Event()

    async def put(self, configuration: Configuration) -> None:
        """Put a configuration in force.

        Raises:
            SettingsError: Something in it cannot be served.
            DatabaseError: The database could not be asked.
        """
        await self._have(configuration.webhooks)
        self._hub.served = configuration.served

    def reload(self) -> None:
        """Have it read again, soon; twice is once."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Read it again whenever that is wanted, for ever."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted.clear()
            if self._read is None:
                log.warning("CONFIGURATION_FILE is not set: there is nothing to read again")
                continue
            try:
                configuration = await asyncio.to_thread(self._read)
                await self.put(configuration)
            except PgcastError as error:
                log.warning(
                    "the configuration is refused; the former one stays in force", error=error.message, hint=error.hint
                )
            except Exception:  # who asks for the next one must not be left without an answer
                log.exception("the configuration could not be read again")
            else:
                log.info("the configuration was read again", webhooks=len(configuration.webhooks))
