"""The tables that a stream has announced, and what the catalog says of them later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pgoutput
import pytest
from memory_source import MemoryCatalog, MemorySource, database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.model.errors import ConnectionFailed, StreamEnded
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Table
from pgcast.model.snapshot import Snapshot


class Rig:
    """A pipeline on a stream in memory, whose catalog is asked about what was announced."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.source = MemorySource()
        self.catalog = MemoryCatalog()
        self.hub = Hub(Payloads(), HubLimits(flush_gap_s=0, window_s=10))
        self.pipeline = Pipeline(database(self.source, self.catalog), self.hub, Backoff(1, 1), lambda: None)

    @property
    def tables(self) -> list[tuple[int, str]]:
        """(commit LSN, schema) of all changes that are held."""
        window = self.hub.window
        return [(one.transaction.commit_lsn, one.table.schema) for one in window.changes_from(window.start, 100)]

    def sees(self, lsn: int) -> None:
        """Let the catalog's answers be of this place."""
        self.catalog.seen = Snapshot(1, 1, frozenset(), Lsn(lsn))


@pytest.fixture
async def rig(clock: Clock) -> AsyncIterator[Rig]:
    made = Rig(clock)
    running = asyncio.create_task(made.pipeline.run())
    await clock.settle()
    made.source.send(*pgoutput.transaction(100, 1))
    await clock.settle()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.pipeline.close()


def renamed(table: Table) -> Table:
    return replace(table, relation=replace(table.relation, schema="elsewhere"))


async def test_what_is_not_announced_counts_from_the_place_where_it_was_seen(rig: Rig):
    rig.catalog.alteration = renamed
    rig.sees(300)
    await rig.clock.advance(1.1)
    rig.source.send(*pgoutput.transaction(200, 2, announced=False), pgoutput.keepalive(300))
    await rig.clock.advance(0.2)
    rig.source.send(*pgoutput.transaction(400, 3, announced=False))
    await rig.clock.settle()
    assert rig.tables == [(100, "public"), (200, "public"), (400, "elsewhere")]


async def test_what_is_announced_meanwhile_is_newer(rig: Rig):
    rig.catalog.alteration = renamed
    rig.sees(300)
    await rig.clock.advance(1.1)
    rig.catalog.alteration = None
    rig.source.send(*pgoutput.transaction(200, 2), pgoutput.keepalive(300))
    await rig.clock.advance(0.2)
    rig.source.send(*pgoutput.transaction(400, 3, announced=False))
    await rig.clock.settle()
    assert rig.tables == [(100, "public"), (200, "public"), (400, "public")]


async def test_another_stream_announces_all_tables_anew(rig: Rig):
    rig.source.break_off(StreamEnded("the connection broke"))
    await rig.clock.advance(1.1)
    rig.source.send(*pgoutput.transaction(200, 2))
    await rig.clock.settle()
    assert rig.catalog.described == ["todos", "todos"]
    assert rig.tables == [(100, "public"), (200, "public")]


async def test_a_database_that_cannot_be_asked_is_asked_again(rig: Rig):
    rig.catalog.failure = ConnectionFailed("away")
    await rig.clock.advance(2.1)
    rig.catalog.failure = None
    rig.catalog.alteration = renamed
    await rig.clock.advance(1.1)
    rig.source.send(*pgoutput.transaction(200, 2, announced=False))
    await rig.clock.settle()
    assert rig.tables == [(100, "public"), (200, "elsewhere")]


async def test_a_table_that_was_dropped_is_forgotten_once_its_last_row_is_read(rig: Rig):
    rig.catalog.gone = {pgoutput.TODOS_OID}
    rig.sees(300)
    await rig.clock.advance(1.1)
    rig.source.send(*pgoutput.transaction(200, 2, announced=False), pgoutput.keepalive(300))
    await rig.clock.advance(1.1)
    assert rig.tables == [(100, "public"), (200, "public")]
    assert rig.catalog.described == ["todos"]
    compared = rig.catalog.compared
    await rig.clock.advance(3)
    assert rig.catalog.compared == compared, "it is asked about no more"
    assert list(rig.hub.sights.tables) == [pgoutput.TODOS_OID], "the window has changes of it"
    await rig.clock.advance(11)
    assert list(rig.hub.sights.tables) == []
