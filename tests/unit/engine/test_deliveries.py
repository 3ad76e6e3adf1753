"""What is written when, to whom, and how often. Rooms as a whole, slow readers among them, test_rooms.py tests."""

from __future__ import annotations

import pytest
from memory_outlet import MemoryOutlet

from fix_clock import Clock
from pgcast.engine.audiences import Audience, Listener
from pgcast.engine.deliveries import FELL_BEHIND, Deliveries
from pgcast.fanout.ring import RingBudget
from pgcast.frames.codec import serializer_for


class Rig:
    """Deliveries, and an audience."""

    def __init__(self) -> None:
        self.flushes = 0
        self.deliveries = Deliveries(self._count, gap_s=0.005, hold=None)
        self.audience = self.make_audience()

    def _count(self) -> None:
        self.flushes += 1

    def make_audience(self) -> Audience:
        return Audience(serializer_for("2.0.0"), 100, RingBudget(1 << 20))

    def add(self, *frames: bytes, skip: Listener | None = None) -> None:
        for frame in frames:
            self.deliveries.append(self.audience, frame, skip)
        self.deliveries.want()


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    assert clock.now_s > 1
    return Rig()


def written(listener: Listener) -> list[bytes]:
    assert isinstance(listener.outlet, MemoryOutlet)
    return listener.outlet.writes


async def test_a_tick_is_written_after_the_turn_in_which_it_was_filled(rig: Rig, clock: Clock):
    one, other = (rig.audience.enter(MemoryOutlet()) for _ in range(2))
    rig.add(b"aa", b"bb")
    rig.add(b"cc", skip=one)
    assert written(one) == []
    await clock.settle()
    assert (written(one), written(other)) == ([b"aabb"], [b"aabbcc"])
    assert (rig.flushes, rig.deliveries.writes, rig.deliveries.pending_bytes) == (1, 2, 0)


async def test_what_comes_soon_after_waits_unless_it_is_much(rig: Rig, clock: Clock):
    one = rig.audience.enter(MemoryOutlet())
    rig.add(b"aa")
    await clock.settle()
    rig.add(b"bb")
    await clock.settle()
    assert written(one) == [b"aa"]
    rig.add(b"x" * 32_000)
    await clock.settle()
    assert written(one)[1] == b"bb" + b"x" * 32_000


async def test_ticks_of_several_audiences_are_one_write_to_an_outlet_that_is_in_all(rig: Rig, clock: Clock):
    shared, alone = MemoryOutlet(), rig.audience.enter(MemoryOutlet())
    another = rig.make_audience()
    listeners = [audience.enter(shared) for audience in (rig.audience, another)]
    rig.add(b"aa", skip=listeners[0])
    rig.add(b"bb")
    rig.deliveries.append(another, b"cc")
    await clock.settle()
    assert (shared.writes, written(alone)) == ([b"bbcc"], [b"aabb"])


async def test_what_was_pending_for_those_who_left_is_forgotten(rig: Rig, clock: Clock):
    one = rig.audience.enter(MemoryOutlet())
    rig.add(b"aa")
    rig.deliveries.forget(one)
    rig.deliveries.forget(one)
    await clock.settle()
    assert (written(one), rig.deliveries.pending_bytes) == ([], 0)


async def test_who_is_passed_by_the_ring_is_closed_with_a_reason(rig: Rig, clock: Clock):
    slow = rig.audience.enter(MemoryOutlet(high_bytes=1))
    quick = rig.audience.enter(MemoryOutlet())
    for _ in range(4):
        rig.add(b"x" * 60)
        await clock.advance(0.01)
    assert isinstance(slow.outlet, MemoryOutlet)
    assert slow.outlet.closed == (1013, FELL_BEHIND)
    assert (rig.deliveries.cut_off, len(written(quick))) == (1, 4)


async def test_who_takes_bytes_again_is_served_and_then_level(rig: Rig, clock: Clock):
    slow = rig.audience.enter(MemoryOutlet(high_bytes=1))
    for frame in (b"aa", b"bb", b"cc"):
        rig.add(frame)
        await clock.advance(0.01)
    assert written(slow) == [b"aa"]
    assert isinstance(slow.outlet, MemoryOutlet)
    for _ in range(2):
        slow.outlet.drain()
        rig.deliveries.resumed(slow)
    assert written(slow) == [b"aa", b"bbcc"]
    assert slow in rig.audience.level


async def test_who_a_broken_flush_may_have_left_out_is_told(rig: Rig, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    broken, missed = MemoryOutlet(), MemoryOutlet()
    for outlet in (broken, missed):
        rig.audience.enter(outlet)

    def fail(content: bytes) -> None:
        raise RuntimeError(f"{len(content)} bytes that cannot be written")

    with monkeypatch.context() as context:
        context.setattr(broken, "write", fail)
        rig.add(b"one")
        await clock.settle()
    assert missed.closed is not None
    assert missed.closed[0] == 1011
    rig.add(b"two")
    await clock.advance(0.01)
    assert missed.writes == [b"two"]
