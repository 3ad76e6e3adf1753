from __future__ import annotations

import asyncio

import pytest
from memory_source import MemorySource, MemoryStore, database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.database_broadcasts import DatabaseBroadcasts
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.replay import Replays
from pgcast.frames.payloads import Replay
from pgcast.model.errors import DatabaseError
from pgcast.model.lsn import Lsn
from pgcast.model.messages import MESSAGE_PREFIX, DatabaseMessage
from pgcast.model.snapshot import Snapshot


def message(number: int) -> DatabaseMessage:
    return DatabaseMessage("room", is_private=True, event="e", payload=b"1", raw=None, id=str(number))


class Rig:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.source = MemorySource()
        self.pipeline = Pipeline(database(self.source), Hub(Payloads(), HubLimits()), Backoff(1, 1), lambda: None)
        broadcasts = DatabaseBroadcasts(self.pipeline.relays, lambda _: None, max_payload_bytes=0)
        self.passed = Lsn(0)
        self.replays = Replays(self.store, broadcasts, self.pipeline, lambda: self.passed)

    def arrive(self, number: int) -> None:
        """Let a message come live; its number is that of its transaction."""
        content = f'{{"topic":"room","event":"e","payload":1,"id":"{number}"}}'
        self.pipeline.relays.on_message[MESSAGE_PREFIX](content.encode(), number)

    async def take(self) -> list[str | None]:
        return [one.id for one in await self.replays.take("room", Replay(5, 3))]


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    return Rig()


async def test_stored_messages_come_as_they_are(rig: Rig):
    rig.store.stored = [message(1), message(2)]
    assert await rig.take() == ["1", "2"]
    assert rig.store.asked == [("room", 5, 3)]


async def test_what_comes_live_meanwhile_follows_unless_the_question_could_see_it(rig: Rig, clock: Clock):
    rig.store.stored = [message(1), message(2)]  # as many as there may be
    rig.store.seen = Snapshot(3, 3, frozenset(), Lsn(100))
    rig.arrive(3)
    taking = asyncio.create_task(rig.take())
    await clock.settle()
    for number in (0, 1, 2, 4):
        rig.arrive(number)
    assert not taking.done(), "the stream has not come to where the table was"
    rig.passed = Lsn(100)
    await clock.advance(0.1)
    assert await taking == ["1", "2", "3", "4"]


async def test_a_stream_that_does_not_move_is_not_waited_for_for_ever(rig: Rig, clock: Clock):
    rig.store.stored = [message(1)]
    rig.store.seen = Snapshot(3, 3, frozenset(), Lsn(100))
    taking = asyncio.create_task(rig.take())
    await clock.advance(0.9)
    assert not taking.done()
    await clock.advance(0.2)
    assert await taking == ["1"]


async def test_however_many_wait_for_the_stream_postgres_is_asked_a_hundred_times_a_second(rig: Rig, clock: Clock):
    rig.store.seen = Snapshot(3, 3, frozenset(), Lsn(100))
    rig.pipeline.health.is_streaming = True
    taking = [asyncio.create_task(rig.take()) for _ in range(200)]
    await clock.advance(0.1, step_s=0.005)
    assert 5 <= len(rig.source.statuses) <= 11
    rig.passed = Lsn(100)
    await clock.advance(0.1)
    assert all(one.done() for one in taking)


async def test_a_database_that_is_away_is_told(rig: Rig):
    rig.store.failure = DatabaseError("away")
    with pytest.raises(DatabaseError):
        await rig.take()
