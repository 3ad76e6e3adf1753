"""When a tick ends. Who gets it, and what becomes of those who do not take it, test_hub.py tests as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from making import change, table, transaction
from memory_outlet import MemoryOutlet

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.flusher import TICK_BYTES, Flusher
from pgcast.engine.groups import Group, Member, Signature
from pgcast.engine.hold import Hold
from pgcast.engine.resume import Readers
from pgcast.engine.sights import Sights
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.fanout.window import Window
from pgcast.frames.codec import serializer_for

GAP_S = 0.005
DATA = Payloads().current(change(transaction(100), on=table()))


class Rig:
    """One flusher, and groups of one member each."""

    def __init__(self) -> None:
        window = Window(1 << 20, 60)
        self.readers = Readers(window, Payloads(), Sights(), as_text=False)
        self.flusher = Flusher(window, self.readers, Hold(30), gap_s=GAP_S)
        self.readers.when_level = self.flusher.make_level

    def add_member(self) -> MemoryOutlet:
        signature = Signature("2.0.0", "realtime:t", (), is_legacy=False)
        self.group = Group(signature, serializer_for("2.0.0"), Ring(1 << 20, RingBudget(1 << 20)))
        outlet = MemoryOutlet()
        outlet.members = 1
        self.flusher.make_level(Member(outlet, self.group))
        return outlet

    def add_change(self, data: bytes = DATA) -> None:
        if not self.group.pending:
            self.flusher.note_dirty(self.group)
        self.flusher.pending_bytes += self.group.add((1,), data)
        self.flusher.flush_when_due()


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    assert clock.now_s > GAP_S
    return Rig()


async def test_an_idle_server_writes_at_once(rig: Rig):
    outlet = rig.add_member()
    rig.add_change()
    assert len(outlet.messages) == 1


async def test_what_comes_within_the_gap_shares_one_write_at_its_end(rig: Rig, clock: Clock):
    outlet = rig.add_member()
    rig.add_change()
    for _ in range(10):
        rig.add_change()
    assert len(outlet.writes) == 1
    await clock.advance(0.0004, step_s=0.0001)
    assert len(outlet.writes) == 1
    await clock.advance(0.0002, step_s=0.0001)
    assert len(outlet.writes) == 2
    assert len(outlet.messages) == 11
    assert rig.flusher.ticks == 2


@pytest.mark.parametrize(("took_s", "gap_s"), [(0.004, 0.002), (1.0, GAP_S)])
async def test_the_gap_is_half_of_what_the_flush_took_but_no_longer_than_the_limit(
    rig: Rig, clock: Clock, monkeypatch: pytest.MonkeyPatch, took_s: float, gap_s: float
):
    outlet = rig.add_member()
    write = outlet.write

    def write_slowly(content: bytes) -> None:
        write(content)
        clock.now_s += took_s

    monkeypatch.setattr(outlet, "write", write_slowly)
    rig.add_change()
    rig.add_change()
    await clock.advance(gap_s * 0.9, step_s=0.0001)
    assert len(outlet.writes) == 1
    await clock.advance(gap_s * 0.2, step_s=0.0001)
    assert len(outlet.writes) == 2


async def test_a_large_tick_does_not_wait_for_the_gap(rig: Rig):
    outlet = rig.add_member()
    rig.add_change()
    rig.add_change(b'"' + b"x" * 40_000 + b'"')
    assert len(outlet.messages) == 2


async def test_a_full_tick_can_be_ended_early(rig: Rig):
    outlet = rig.add_member()
    rig.add_change()
    rig.add_change()
    rig.flusher.flush_now()
    assert len(outlet.messages) == 2
    assert rig.flusher.pending_bytes == 0


async def test_more_may_be_pending_where_many_groups_share_it(rig: Rig):
    rig.add_member()
    assert rig.flusher.full_bytes == TICK_BYTES
    for groups, full_bytes in ((1, TICK_BYTES), (512, 2 * TICK_BYTES), (5_000, 8 * TICK_BYTES)):
        for _ in range(groups):
            rig.flusher.note_dirty(rig.group)
        assert rig.flusher.full_bytes == full_bytes
        rig.flusher.flush_now()
        assert rig.flusher.full_bytes == TICK_BYTES


async def test_a_flush_that_breaks_off_is_not_the_last_one(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    outlet = rig.add_member()
    missed = MemoryOutlet()
    rig.flusher.make_level(Member(missed, rig.group))

    def fail(content: bytes) -> None:
        raise RuntimeError(f"{len(content)} bytes that cannot be written")

    with monkeypatch.context() as broken:
        broken.setattr(outlet, "write", fail)
        rig.add_change()
    assert not rig.flusher.is_writing
    assert missed.closed is not None, "it missed a tick, and must be told"
    assert missed.closed[0] == 1011
    rig.add_change()
    rig.flusher.flush_now()
    assert len(outlet.messages) == 1


async def test_nothing_pending_nothing_written(rig: Rig, clock: Clock):
    outlet = rig.add_member()
    rig.flusher.flush_when_due()
    rig.flusher.flush_now()
    await clock.advance(1)
    assert outlet.writes == []
    assert rig.flusher.ticks == 0


@pytest.mark.parametrize("end", [lambda flusher: flusher.flush_now(), lambda flusher: flusher.flush_when_due()])
async def test_a_tick_waits_while_another_is_being_written(rig: Rig, clock: Clock, end: Callable[[Flusher], None]):
    outlets = [rig.add_member()]
    for _ in range(1200):
        outlet = MemoryOutlet()
        outlet.members = 1
        outlets.append(outlet)
        rig.flusher.make_level(Member(outlet, rig.group))
    rig.add_change()
    assert rig.flusher.is_writing
    rig.add_change()
    end(rig.flusher)
    assert len(outlets[0].writes) == 1, "the second tick must not overtake the first on the last sockets"
    await clock.advance(1)
    assert [len(outlet.messages) for outlet in outlets] == [2] * 1201
