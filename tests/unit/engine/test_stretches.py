from making import change, table, transaction

from pgcast.engine.stretches import Stretches
from pgcast.fanout.window import Window
from pgcast.matching.stretch import MAX_CHANGES, Lookup
from pgcast.model.lsn import Lsn

TODOS = table()


def filled(count: int, window: Window | None = None) -> Window:
    window = window or Window(1 << 30, 60)
    for commit_lsn in range(window.end + 1, window.end + 1 + count):
        window.append(change(transaction(commit_lsn), on=TODOS), 50, now_s=0)
        window.commit(Lsn(commit_lsn))
    return window


def test_a_full_stretch_is_made_once_for_all_readers():
    stretches = Stretches(filled(MAX_CHANGES + 1))
    one = stretches.at(5, readers=1)
    assert one is not None
    assert one.end == MAX_CHANGES
    assert stretches.at(MAX_CHANGES - 1, readers=1) is one


def test_the_newest_stretch_is_made_for_many_readers_alone_and_again_when_it_has_grown():
    window = filled(100)
    stretches = Stretches(window)
    assert stretches.at(0, readers=19) is None
    one = stretches.at(0, readers=20)
    assert one is not None
    filled(100, window)
    assert stretches.at(99, readers=20) is one
    assert stretches.at(190, readers=20) is None
    other = stretches.at(100, readers=20)
    assert other is not None
    assert (other.end, len(stretches)) == (200, 1)


def test_what_the_window_drops_is_forgotten():
    window = filled(2 * MAX_CHANGES)
    stretches = Stretches(window)
    stretches.at(0, readers=1)
    window.give_up()
    filled(2 * MAX_CHANGES, window)
    stretch = stretches.at(2 * MAX_CHANGES, readers=1)
    assert stretch is not None
    assert len(stretches) == 1


def test_a_stretch_that_the_window_holds_in_part_tells_of_that_part():
    window = filled(10)
    window.give_up()
    filled(MAX_CHANGES, window)
    stretch = Stretches(window).at(10, readers=1)
    assert stretch is not None
    assert list(stretch.all_of(TODOS, 0, 2)) == [10, 11]
    assert next(iter(stretch.found_by(TODOS, Lookup(1, [b"milk"]), 0))) == 10


def test_so_many_values_are_kept_and_no_more():
    stretches = Stretches(filled(3 * MAX_CHANGES), max_postings=MAX_CHANGES)
    for place, kept in ((0, 1), (1, 2), (2, 1)):
        stretches.at(place * MAX_CHANGES, readers=1)
        assert len(stretches) == kept
