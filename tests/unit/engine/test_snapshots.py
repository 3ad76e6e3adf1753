import asyncio

import pytest

from pgcast.engine.snapshots import Snapshots
from pgcast.model.errors import ConnectionFailed
from pgcast.model.lsn import Lsn
from pgcast.model.snapshot import Snapshot


class SlowCatalog:
    """Answers each question when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = asyncio.Event()
        self.fails = False

    async def snapshot(self) -> Snapshot:
        self.asked += 1
        number = self.asked
        await self.go_on.wait()
        if self.fails:
            raise ConnectionFailed("away")
        return Snapshot(number, number, frozenset(), Lsn(number))


async def test_those_who_arrive_while_a_query_runs_share_the_next_one():
    catalog = SlowCatalog()
    snapshots = Snapshots(catalog)  # type: ignore[arg-type]
    first = asyncio.create_task(snapshots.take())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(snapshots.take()) for _ in range(1000)]
    await asyncio.sleep(0)
    catalog.go_on.set()
    taken = await asyncio.gather(first, *others)
    assert [snapshot.xmax for snapshot in taken] == [1] + [2] * 1000
    assert catalog.asked == 2


async def test_thousands_are_not_told_all_in_one_turn_of_the_loop():
    catalog = SlowCatalog()
    snapshots = Snapshots(catalog)  # type: ignore[arg-type]
    told = []

    async def join() -> None:
        told.append(await snapshots.take())

    joins = [asyncio.create_task(join()) for _ in range(1000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    catalog.go_on.set()
    before, most = 0, 0
    while before < len(joins):
        await asyncio.sleep(0)
        before, most = len(told), max(most, len(told) - before)
    assert most <= 100
    assert catalog.asked == 1
    await asyncio.gather(*joins)


async def test_a_failure_is_told_to_those_who_asked_and_to_nobody_later():
    catalog = SlowCatalog()
    catalog.go_on.set()
    catalog.fails = True
    snapshots = Snapshots(catalog)  # type: ignore[arg-type]
    with pytest.raises(ConnectionFailed):
        await snapshots.take()
    catalog.fails = False
    assert (await snapshots.take()).xmax == 2


async def test_who_gave_up_waiting_disturbs_nobody():
    catalog = SlowCatalog()
    snapshots = Snapshots(catalog)  # type: ignore[arg-type]
    gives_up = asyncio.create_task(snapshots.take())
    stays = asyncio.create_task(snapshots.take())
    await asyncio.sleep(0)
    gives_up.cancel()
    catalog.go_on.set()
    assert (await stays).xmax == 1


async def test_closing_ends_the_query():
    catalog = SlowCatalog()
    snapshots = Snapshots(catalog)  # type: ignore[arg-type]
    waiting = asyncio.create_task(snapshots.take())
    await asyncio.sleep(0)
    await snapshots.close()
    waiting.cancel()
    assert snapshots._worker is None
