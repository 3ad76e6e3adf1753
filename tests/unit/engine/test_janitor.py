from __future__ import annotations

import asyncio

import pytest
from memory_source import MemoryStore

from fix_clock import Clock
from pgcast.engine.janitor import Janitor
from pgcast.model.errors import NotPrepared


async def test_it_sweeps_at_once_and_every_hour(clock: Clock):
    store = MemoryStore()
    running = asyncio.create_task(Janitor(store, 72).run())
    await clock.advance(1)
    assert store.tended == [72]
    await clock.advance(3598, step_s=10)
    assert store.tended == [72]
    await clock.advance(2)
    assert store.tended == [72, 72]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("failure", [NotPrepared("must be owner", hint="ALTER TABLE"), RuntimeError("a bug")])
async def test_a_failure_is_logged_and_tried_again_sooner(
    clock: Clock, failure: Exception, capsys: pytest.CaptureFixture[str]
):
    store = MemoryStore()
    store.failure = failure
    running = asyncio.create_task(Janitor(store, 1).run())
    await clock.advance(1)
    assert str(failure) in capsys.readouterr().out
    store.failure = None
    await clock.advance(300, step_s=10)
    assert store.tended == [1, 1]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_was_done_is_said(clock: Clock, capsys: pytest.CaptureFixture[str]):
    store = MemoryStore()
    assert await Janitor(store, 72).sweep()
    assert capsys.readouterr().out == ""
    store.done = ["made a partition"]
    assert await Janitor(store, 72).sweep()
    assert "made a partition" in capsys.readouterr().out
