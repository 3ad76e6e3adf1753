"""When a flush begins, and that only one runs at a time."""

from __future__ import annotations

from collections.abc import Iterator

from fix_clock import Clock
from pgcast.engine.pace import Pace, load_of

GAP_S = 0.005


class Flushes:
    """Counts flushes of so many slices each, and may take time."""

    def __init__(self, clock: Clock, *, slices: int = 1, takes_s: float = 0.0) -> None:
        self.begun = 0
        self.slices = slices
        self._clock = clock
        self._takes_s = takes_s
        self.pace = Pace(self._flush, gap_s=GAP_S)

    def _flush(self) -> Iterator[None]:
        self.begun += 1
        self._clock.now_s += self._takes_s
        for _ in range(self.slices - 1):
            yield


def test_what_is_large_counts_for_several_sockets():
    assert [load_of(size) for size in (0, 8191, 8192, 1 << 20)] == [1, 1, 2, 129]


async def test_after_a_quiet_moment_a_flush_begins_once_the_callers_turn_is_over(clock: Clock):
    flushes = Flushes(clock)
    for _ in range(10):
        flushes.pace.want()
    assert flushes.begun == 0
    await clock.settle()
    assert (flushes.begun, flushes.pace.is_writing) == (1, False)


async def test_the_next_flush_waits_for_half_of_what_the_last_one_took(clock: Clock):
    flushes = Flushes(clock, takes_s=0.004)
    flushes.pace.want()
    await clock.settle()
    flushes.pace.want()
    await clock.advance(0.0015, step_s=0.0005)
    assert flushes.begun == 1
    await clock.advance(0.001, step_s=0.0005)
    assert flushes.begun == 2


async def test_it_waits_no_longer_than_the_gap(clock: Clock):
    flushes = Flushes(clock, takes_s=1.0)
    flushes.pace.want()
    await clock.settle()
    flushes.pace.want()
    await clock.advance(0.006, step_s=0.001)
    assert flushes.begun == 2


async def test_a_large_tick_does_not_wait(clock: Clock):
    flushes = Flushes(clock, takes_s=1.0)
    flushes.pace.want()
    await clock.settle()
    flushes.pace.want()
    flushes.pace.want(at_once=True)
    await clock.settle()
    assert flushes.begun == 2
    await clock.advance(0.006, step_s=0.001)
    assert flushes.begun == 2


async def test_what_is_wanted_while_a_flush_is_written_comes_after_it(clock: Clock):
    flushes = Flushes(clock, slices=3)
    flushes.pace.flush_now()
    assert flushes.pace.is_writing
    flushes.pace.want()
    flushes.pace.flush_now()
    assert flushes.begun == 1
    await clock.advance(0.001, step_s=0.0005)
    assert (flushes.begun, flushes.pace.is_writing) == (2, False)
    assert not flushes.pace.is_writing


async def test_who_has_a_batch_is_flushed_in_the_very_call_or_when_it_is_due(clock: Clock):
    flushes = Flushes(clock, takes_s=0.004)
    flushes.pace.want_now()
    assert flushes.begun == 1
    flushes.pace.want_now()
    await clock.advance(0.0015, step_s=0.0005)
    assert flushes.begun == 1
    await clock.advance(0.001, step_s=0.0005)
    assert flushes.begun == 2
    flushes.pace.want_now(at_once=True)
    assert flushes.begun == 3


async def test_much_that_comes_while_a_flush_is_written_does_not_wait_after_it(clock: Clock):
    flushes = Flushes(clock, slices=2, takes_s=1.0)
    flushes.pace.want_now()
    flushes.pace.want(at_once=True)
    await clock.settle()
    assert flushes.begun == 2


async def test_a_flush_at_once_takes_the_place_of_the_one_that_was_to_come(clock: Clock):
    flushes = Flushes(clock)
    flushes.pace.want()
    flushes.pace.flush_now()
    assert flushes.begun == 1
    await clock.settle()
    assert flushes.begun == 1


async def test_a_flush_that_breaks_off_does_not_stop_those_to_come(clock: Clock):
    begun = 0

    def flush() -> Iterator[None]:
        nonlocal begun
        begun += 1
        yield
        raise ValueError("a fault")

    pace = Pace(flush, gap_s=GAP_S)
    for _ in range(2):
        pace.want()
        await clock.advance(0.01)
    assert (begun, pace.is_writing) == (2, False)
