import pytest

from pgcast.fanout.ring import Ring, RingBudget


def contents(ring: Ring, number: int, limit: int = 1 << 20) -> list[bytes]:
    return [b"".join(tick.pieces) for tick in ring.since(number, limit)]


def test_a_reader_gets_what_came_from_its_cursor_on():
    ring = Ring(100, RingBudget(1000))
    for content in (b"a", b"b", b"c"):
        ring.append((content,), 0, 0)
    assert contents(ring, 1) == [b"b", b"c"]
    assert contents(ring, 3) == []
    assert ring.next_number == 3


def test_the_oldest_ticks_go_when_the_ring_is_full():
    ring = Ring(5, RingBudget(1000))
    for content in (b"aaa", b"bbb", b"cc"):
        ring.append((content,), 0, 0)
    assert ring.first_number == 1
    assert not ring.holds(0)
    assert ring.size_bytes == 5
    with pytest.raises(LookupError, match="tick 0 is gone; the oldest held is 1"):
        ring.since(0, 10)


def test_the_newest_tick_stays_even_if_it_alone_is_too_large():
    ring = Ring(2, RingBudget(1000))
    ring.append((b"large",), 0, 0)
    assert contents(ring, 0) == [b"large"]


def test_a_tick_in_pieces_counts_as_a_whole():
    ring = Ring(5, RingBudget(1000))
    ring.append((b"aa", b"b"), 0, 0)
    ring.append((b"cc", b"d"), 0, 0)
    assert (ring.first_number, ring.size_bytes, contents(ring, 1)) == (1, 3, [b"ccd"])


def test_a_limit_gives_at_least_one_tick():
    ring = Ring(100, RingBudget(1000))
    for content in (b"aaa", b"bbb", b"ccc"):
        ring.append((content,), 0, 0)
    assert contents(ring, 0, 1) == [b"aaa"]
    assert contents(ring, 0, 6) == [b"aaa", b"bbb"]


def test_clearing_keeps_the_numbering():
    budget = RingBudget(1000)
    ring = Ring(100, budget)
    ring.append((b"a",), 0, 0)
    ring.clear()
    assert (ring.size_bytes, budget.total_bytes, ring.first_number) == (0, 0, 1)
    assert ring.append((b"b",), 0, 0).number == 1


def test_all_rings_together_stay_under_the_budget_and_the_oldest_tick_of_any_goes_first():
    budget = RingBudget(10)
    old, young = Ring(100, budget), Ring(100, budget)
    old.append((b"1111",), 0, 0)
    young.append((b"2222",), 0, 0)
    assert budget.total_bytes == 8
    young.append((b"3333",), 0, 0)
    assert budget.total_bytes == 8
    assert (old.first_number, young.first_number) == (1, 0)
    young.append((b"4444",), 0, 0)
    assert contents(young, 1) == [b"3333", b"4444"]


def test_the_budget_forgets_ticks_that_their_ring_has_dropped():
    budget = RingBudget(10)
    ring = Ring(100, budget)
    for _ in range(1000):
        ring.append((b"12345",), 0, 0)
        ring.clear()
    assert budget.total_bytes == 0
    assert len(budget._order) <= 1


def test_the_budget_remembers_no_more_ticks_than_are_held():
    budget = RingBudget(1 << 20)
    needed, busy = Ring(1 << 20, budget), Ring(1 << 20, budget)
    needed.append((b"somebody needs this for long",), 0, 0)
    for _ in range(5000):
        busy.append((b"nobody is behind",), 0, 0)
        busy.clear()
    assert len(budget._order) < 1100
    assert needed.holds(0)


def test_over_the_budget_the_oldest_tick_goes_also_after_many_that_are_gone():
    budget = RingBudget(3000)
    needed, busy = Ring(1 << 20, budget), Ring(1 << 20, budget)
    needed.append((b"x" * 1000,), 0, 0)
    for _ in range(1500):
        busy.append((b"y",), 0, 0)
        busy.clear()
    for _ in range(2):
        busy.append((b"y" * 1000,), 0, 0)
    assert needed.holds(0)
    busy.append((b"y" * 1000,), 0, 0)
    assert not needed.holds(0)
    assert budget.total_bytes == 3000
