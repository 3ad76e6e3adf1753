"""One snapshot of the database for all joins that arrive together.

A join needs a snapshot taken after it arrived. While one query runs, those who arrive wait for the next one: so any
number of joins costs one query after another, never one each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.engine.ports import Catalog
    from pgcast.model.snapshot import Snapshot

_AT_A_TIME = 100


class Snapshots:
    """Asks for snapshots, one at a time.

    Args:
        catalog: Who is asked.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: list[asyncio.Future[Snapshot]] = []
        self._worker: asyncio.Task[None] | None = None

    async def take(self) -> Snapshot:
        """Return a snapshot taken after this call.

        Raises:
            DatabaseError: The database could not be asked.
        """
        future: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """End the query that runs."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None

    async def _work(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                try:
                    snapshot = await self._catalog.snapshot()
                except Exception as error:  # noqa: BLE001 - whatever it is, those who asked are told
                    for future in asked:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for number, future in enumerate(asked, start=1):
                        if not future.done():
                            future.set_result(snapshot)
                        if number % _AT_A_TIME == 0:
                            await asyncio.sleep(0)  # those who have it join now, which takes a while
        finally:
            self._worker = None
