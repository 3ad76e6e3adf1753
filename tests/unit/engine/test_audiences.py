"""What one audience's tick holds for whom, and what the ring keeps for those who are behind."""

from __future__ import annotations

from memory_outlet import MemoryOutlet

from pgcast.engine.audiences import Audience, Listener
from pgcast.fanout.ring import RingBudget
from pgcast.frames.codec import serializer_for


def make_audience(*, ring_bytes: int = 1 << 20) -> tuple[Audience, RingBudget]:
    budget = RingBudget(1 << 20)
    return Audience(serializer_for("2.0.0"), ring_bytes, budget), budget


def missed(audience: Audience, listener: Listener) -> bytes:
    """Everything that the ring has for a listener that is behind."""
    found = b""
    while (pieces := audience.next_pieces(listener)) is not None:
        found += b"".join(pieces)
    return found


def test_everybody_shares_the_tick_but_the_one_that_is_skipped():
    audience, _ = make_audience()
    one, other = audience.enter(MemoryOutlet()), audience.enter(MemoryOutlet())
    for frame, skip in ((b"aa", None), (b"bb", one), (b"cc", one), (b"dd", None), (b"ee", one)):
        audience.add(frame, skip)
    taken = audience.take()
    assert taken.pieces_for(other) is taken.pieces == (b"aabbccddee",)
    assert taken.pieces_for(one) == (b"aadd",)
    assert (audience.pending, audience.pending_bytes) == ([], 0)


def test_who_enters_in_the_middle_of_a_tick_gets_the_rest_of_it():
    audience, _ = make_audience()
    audience.enter(MemoryOutlet())
    audience.add(b"aa", None)
    late = audience.enter(MemoryOutlet())
    audience.add(b"bb", None)
    audience.add(b"cc", late)
    assert audience.take().pieces_for(late) == (b"bb",)


def test_a_ring_is_made_for_the_first_that_falls_behind_and_given_up_with_the_last():
    audience, budget = make_audience()
    slow, quick = audience.enter(MemoryOutlet()), audience.enter(MemoryOutlet())
    audience.add(b"aa", slow)
    audience.add(b"bb", None)
    taken = audience.take()
    assert budget.total_bytes == 0
    audience.park(slow, taken)
    audience.written()
    audience.add(b"cc", None)
    audience.add(b"dd", slow)
    audience.take()
    audience.written()
    assert (set(audience.level), set(audience.behind)) == ({quick}, {slow})
    assert budget.total_bytes == 8
    assert missed(audience, slow) == b"bbcc"
    assert set(audience.level) == {quick, slow}
    assert budget.total_bytes == 0


def test_the_ring_stays_while_its_last_tick_is_being_written():
    audience, _ = make_audience()
    first, second = audience.enter(MemoryOutlet()), audience.enter(MemoryOutlet())
    audience.add(b"aa", None)
    taken = audience.take()
    audience.park(first, taken)
    assert missed(audience, first) == b"aa"
    audience.park(second, taken)
    audience.written()
    assert missed(audience, second) == b"aa"


def test_what_one_that_is_behind_sends_itself_is_left_out_of_the_ring_for_it_alone():
    audience, _ = make_audience()
    one, other = audience.enter(MemoryOutlet()), audience.enter(MemoryOutlet())
    audience.add(b"aa", None)
    taken = audience.take()
    audience.park(one, taken)
    audience.park(other, taken)
    audience.written()
    audience.add(b"bb", one)
    audience.take()
    audience.written()
    assert audience.reading == ()
    assert (missed(audience, one), missed(audience, other)) == (b"aa", b"aabb")


def test_who_was_passed_by_the_ring_has_lost_something():
    audience, _ = make_audience(ring_bytes=4)
    slow = audience.enter(MemoryOutlet())
    audience.enter(MemoryOutlet())
    audience.add(b"aaa", None)
    audience.park(slow, audience.take())
    assert not audience.has_lost(slow)
    audience.add(b"bbb", None)
    audience.take()
    assert audience.has_lost(slow)


def test_what_nobody_is_left_for_is_dropped():
    audience, budget = make_audience()
    only = audience.enter(MemoryOutlet())
    audience.add(b"aa", None)
    audience.park(only, audience.take())
    audience.written()
    audience.add(b"bb", None)
    audience.leave(only)
    audience.leave(only)
    assert (len(audience), audience.pending_bytes, budget.total_bytes) == (0, 0, 0)
