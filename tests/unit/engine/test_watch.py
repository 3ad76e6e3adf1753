"""The watch over the slot: what it says, what it gives up, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pgoutput
import pytest
from making import change, transaction
from memory_source import PUBLICATION, MemoryObserver, MemorySource, database, observation

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.groups import Group, Signature
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.ports import Observation
from pgcast.engine.watch import LagLimits, Watch
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import ConnectionFailed
from pgcast.model.lsn import Lsn

MB = 1 << 20


class Rig:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.source = MemorySource()
        self.hub = Hub(Payloads(), HubLimits())
        self.losses = 0
        self.pipeline = Pipeline(database(self.source), self.hub, Backoff(1, 1), self._lost)
        self.tasks = [asyncio.create_task(self.pipeline.run())]

    def _lost(self) -> None:
        self.losses += 1

    async def sees(self, *seen: Observation | Exception, limits: LagLimits | None = None) -> None:
        """Let a watch look as often as there is something to see."""
        await self.clock.settle()
        watch = Watch(MemoryObserver(*seen), self.pipeline, self.hub, limits or LagLimits())
        self.tasks.append(asyncio.create_task(watch.run()))
        await self.clock.settle()
        for _ in seen[1:]:
            await self.clock.advance(2.1)

    @property
    def why_not_ready(self) -> str:
        return self.pipeline.health.why_not(self.clock.now_s)


@pytest.fixture
async def rig(clock: Clock) -> AsyncIterator[Rig]:
    made = Rig(clock)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await made.pipeline.close()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


async def test_a_slot_that_is_well_is_not_talked_about(rig: Rig, said: Callable[[], str]):
    await rig.sees(observation(lag_bytes=5 * MB), limits=LagLimits(warn_bytes=10 * MB, max_bytes=20 * MB))
    assert "WAL" not in said()
    assert rig.why_not_ready == ""


async def test_much_lag_is_said_once_a_minute(rig: Rig, said: Callable[[], str]):
    lagging = observation(lag_bytes=11 * MB)
    await rig.sees(*[lagging] * 10, limits=LagLimits(warn_bytes=10 * MB))
    assert said().count("much WAL waits for this slot") == 1
    await rig.clock.advance(60)
    assert said().count("much WAL waits for this slot") == 1


async def test_over_the_limit_the_window_goes_first_and_the_slot_only_if_that_is_allowed(
    rig: Rig, said: Callable[[], str]
):
    too_much = observation(lag_bytes=21 * MB)
    await rig.sees(*[too_much] * 3, limits=LagLimits(max_bytes=20 * MB))
    told = said()
    assert told.count("the window is given up") == 1
    assert "too much WAL waits for this slot" in told
    assert rig.source.dropped == 0


async def test_where_it_is_allowed_the_slot_is_made_anew_and_everybody_told(rig: Rig):
    too_much = observation(lag_bytes=21 * MB)
    limits = LagLimits(max_bytes=20 * MB, drops_slot=True)
    await rig.sees(too_much, too_much, observation(), observation(), limits=limits)
    await rig.clock.advance(3)
    assert rig.source.dropped == 1
    assert rig.losses == 1


async def test_a_window_that_was_given_up_in_vain_is_given_up_again_later(rig: Rig, said: Callable[[], str]):
    too_much, fine = observation(lag_bytes=21 * MB), observation()
    await rig.sees(too_much, fine, too_much, limits=LagLimits(max_bytes=20 * MB))
    assert said().count("the window is given up") == 2


async def test_a_missing_publication_is_not_ready_and_one_made_anew_is_a_gap(rig: Rig):
    await rig.sees(observation(), observation(publications={}))
    assert rig.why_not_ready == f"publications do not exist: {PUBLICATION}"
    assert rig.losses == 0
    await rig.sees(observation(publications={PUBLICATION: 16_500}), observation(publications={PUBLICATION: 16_600}))
    assert rig.why_not_ready == ""
    assert rig.losses == 1


async def test_one_that_was_renamed_for_a_while_is_a_gap(rig: Rig):
    await rig.sees(observation(), observation(publications={}), observation(), observation())
    assert rig.why_not_ready == ""
    assert rig.losses == 1


async def test_a_synchronous_standby_is_said_and_confirms_at_once(rig: Rig, said: Callable[[], str]):
    await rig.sees(observation(is_standby=True))
    assert "synchronous standby" in said()
    assert rig.pipeline.is_standby
    await rig.sees(observation())
    assert not rig.pipeline.is_standby


async def test_a_database_that_goes_away_is_no_reason_to_do_anything(rig: Rig):
    await rig.sees(ConnectionFailed("away"), ConnectionFailed("away"), observation())
    assert rig.why_not_ready == ""
    assert rig.source.is_open


async def test_giving_up_the_window_confirms_all_that_was_taken_over(rig: Rig):
    rig.hub.window.mark(Lsn(700))
    await rig.sees(observation(lag_bytes=21 * MB), limits=LagLimits(max_bytes=20 * MB))
    assert rig.hub.window.confirmable == 700


async def test_a_stream_that_hangs_is_opened_anew(rig: Rig):
    await rig.sees(observation())
    rig.source.send(pgoutput.keepalive(100))
    await rig.clock.advance(29)
    assert len(rig.source.opened_after) == 1
    await rig.clock.advance(5)
    await rig.clock.advance(3)
    assert len(rig.source.opened_after) == 2
    assert rig.why_not_ready == ""


async def test_one_that_comes_no_further_is_waited_for_ever_longer(rig: Rig):
    """Postgres may be reading a huge transaction of which nothing is published, each time from its beginning."""
    await rig.sees(observation())
    rig.source.send(pgoutput.keepalive(100))
    await rig.clock.advance(33.5)
    assert len(rig.source.opened_after) == 2
    rig.source.send(pgoutput.keepalive(100))
    await rig.clock.advance(58)
    assert len(rig.source.opened_after) == 2
    await rig.clock.advance(6)
    assert len(rig.source.opened_after) == 3
    rig.source.send(pgoutput.keepalive(200))
    await rig.clock.advance(33.5)
    assert len(rig.source.opened_after) == 4, "it did come further"


async def test_what_was_still_being_received_is_given_up_at_the_next_look(rig: Rig):
    too_much = observation(lag_bytes=21 * MB)
    await rig.sees(*[too_much] * 4, limits=LagLimits(max_bytes=20 * MB))
    rig.hub.window.append(change(transaction(100)), 50, rig.clock.now_s)
    await rig.clock.advance(2.1)
    assert rig.hub.window.start < rig.hub.window.end, "a transaction that is not complete stays"
    rig.hub.window.commit(Lsn(105))
    await rig.clock.advance(2.1)
    assert rig.hub.window.start == rig.hub.window.end
    assert rig.hub.window.confirmable == 105


async def test_a_long_hold_is_no_silence_also_when_it_has_just_ended(rig: Rig):
    await rig.sees(observation())
    rig.source.send(pgoutput.keepalive(100))
    await rig.clock.settle()
    group = Group(
        Signature("2.0.0", "realtime:t", (), is_legacy=False), serializer_for("2.0.0"), Ring(1, RingBudget(1))
    )
    rig.hub.hold.begin(group)
    await rig.clock.advance(45)
    assert rig.why_not_ready == ""
    rig.hub.hold.release(group)
    await rig.clock.advance(25)
    assert len(rig.source.opened_after) == 1
    await rig.clock.advance(10)
    assert len(rig.source.opened_after) == 2
