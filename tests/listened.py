"""Short ways to write and to listen, for the tests of `pgcast.listen`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pgcast
    from pgcast.devdb.template import Database

DEADLINE_S = 20.0
SLOT = "worker"


async def run(database: Database, statements: str) -> None:
    await asyncio.to_thread(database.execute, statements)


async def some(changes: pgcast.Changes, count: int) -> list[pgcast.Change]:
    """The next changes; all but the last are acknowledged, unless that is left to the test."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(changes) for _ in range(count)]


async def ids(changes: pgcast.Changes, count: int) -> list[int]:
    return [(change.record or change.old_record or {})["id"] for change in await some(changes, count)]
