"""What is said and done about a slot that holds too much WAL, a publication that was pulled away, and a standby."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pgoutput
import pytest
from memory_source import MemoryObserver, MemorySource, memory_database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.watch import LagLimits, Watch
from pgcast.model.errors import ConnectionFailed

MB = 1 << 20


class Rig:
    def __init__(self, clock: Clock, limits: LagLimits) -> None:
        self.clock = clock
        self.source = MemorySource()
        self.observer = MemoryObserver()
        self.hub = Hub(Payloads(), HubLimits())
        self.losses = 0
        database = memory_database(self.source, observer=self.observer)
        self.pipeline = Pipeline(database, self.hub, Backoff(1, 1), self._note_loss)
        self.watch = Watch(self.observer, self.pipeline, self.hub, limits)

    def _note_loss(self) -> None:
        self.losses += 1

    async def see(self, **changed: object) -> None:
        """Let the observer see something else, and the watch look at it."""
        self.observer.seen = replace(self.observer.seen, **changed)  # type: ignore[arg-type]
        await self.clock.advance(2.1)


@pytest.fixture
async def rig(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Rig]:
    made = Rig(clock, getattr(request, "param", LagLimits(warn_bytes=10 * MB)))
    tasks = [asyncio.create_task(made.pipeline.run()), asyncio.create_task(made.watch.run())]
    await clock.settle()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await made.pipeline.close()


def told(capsys: pytest.CaptureFixture[str], text: str) -> int:
    return capsys.readouterr().out.count(text)


async def test_all_is_well_and_nothing_is_said(rig: Rig, capsys: pytest.CaptureFixture[str]):
    await rig.clock.advance(10)
    assert "warning" not in capsys.readouterr().out
    assert rig.losses == 0


async def test_much_waiting_wal_is_said_once_a_minute(rig: Rig, capsys: pytest.CaptureFixture[str]):
    await rig.see(lag_bytes=11 * MB)
    await rig.clock.advance(50, step_s=0.5)
    assert told(capsys, "much WAL waits") == 1
    await rig.clock.advance(15, step_s=0.5)
    assert told(capsys, "much WAL waits") == 1


@pytest.mark.parametrize("rig", [LagLimits(max_bytes=10 * MB)], indirect=True)
async def test_over_the_limit_the_window_is_given_up_and_the_slot_kept(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    await rig.see(lag_bytes=11 * MB)
    assert rig.hub.window.start == rig.hub.window.end
    await rig.clock.advance(10)
    assert rig.source.drops == 0
    assert any(flushed == pgoutput.end_of(100) for _, flushed, _ in rig.source.statuses)


@pytest.mark.parametrize("rig", [LagLimits(max_bytes=10 * MB, drops_slot=True)], indirect=True)
async def test_if_that_does_not_help_and_it_was_allowed_the_slot_is_made_anew(rig: Rig):
    await rig.see(lag_bytes=11 * MB)
    assert rig.source.drops == 0, "first the window"
    await rig.clock.advance(4)
    assert rig.source.drops == 1
    assert rig.losses == 1


@pytest.mark.parametrize("rig", [LagLimits(max_bytes=10 * MB, drops_slot=True)], indirect=True)
async def test_if_giving_up_the_window_helped_the_slot_stays(rig: Rig):
    await rig.see(lag_bytes=11 * MB)
    await rig.see(lag_bytes=0)
    await rig.see(lag_bytes=11 * MB)
    assert rig.source.drops == 0


async def test_a_missing_publication_makes_the_server_unready(rig: Rig):
    await rig.see(publications={})
    assert rig.pipeline.health.why_not(rig.clock.now_s) == "publications do not exist: p"
    await rig.see(publications={"p": 1})
    assert rig.pipeline.health.is_ready(rig.clock.now_s)
    assert rig.losses == 0


async def test_a_publication_that_was_made_anew_is_a_gap_for_everybody_once(rig: Rig):
    await rig.see(publications={"p": 2})
    await rig.clock.advance(10)
    assert rig.losses == 1


async def test_as_a_synchronous_standby_it_says_so_and_confirms_at_once(rig: Rig, capsys: pytest.CaptureFixture[str]):
    await rig.see(is_standby=True)
    assert rig.pipeline.is_standby
    assert told(capsys, "as for a synchronous standby") == 1
    await rig.see(is_standby=False)
    assert not rig.pipeline.is_standby


async def test_a_database_that_cannot_be_asked_is_asked_again(rig: Rig):
    await rig.clock.advance(2.1)
    assert rig.watch.seen is not None
    rig.observer.failure = ConnectionFailed("away")
    await rig.clock.advance(2.1)
    assert rig.watch.seen is None
    rig.observer.failure = None
    await rig.clock.advance(2.1)
    assert rig.watch.seen is not None
    assert rig.pipeline.reconnects == 0, "the stream is not the observer's business"
