"""Looks after the table of stored messages: partitions for the coming days, and none that is too old.

Several servers may do so at the same time: the database lets one of them at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError

if TYPE_CHECKING:
    from pgcast.engine.ports import MessageStore

log = get_logger(__name__)

_SWEEP_S: Final = 3600.0
_RETRY_S: Final = 300.0


class Janitor:
    """Sweeps at once, and then every hour; sooner again after a failure.

    Args:
        store: What is looked after.
        keep_h: For how many hours messages are kept, at least.
    """

    def __init__(self, store: MessageStore, keep_h: int) -> None:
        self._store = store
        self._keep_h = keep_h

    async def run(self) -> None:
        """Sweep for ever; whatever goes wrong is logged and tried again."""
        while True:
            went_well = await self.sweep()
            await asyncio.sleep(_SWEEP_S if went_well else _RETRY_S)

    async def sweep(self) -> bool:
        """Look after the table once; say whether all went well."""
        try:
            done = await self._store.tend(self._keep_h)
        except DatabaseError as error:
            log.warning("stored messages could not be looked after", error=error.message, hint=error.hint or None)
            return False
        except Exception:
            log.exception("the janitor failed")
            return False
        if done:
            log.info("stored messages looked after", done=list(done))
        return True
