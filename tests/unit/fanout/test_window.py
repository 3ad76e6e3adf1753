import pytest
from making import change, transaction

from pgcast.fanout.window import Window
from pgcast.model.lsn import Lsn
from pgcast.model.snapshot import Snapshot


def fill(window: Window, *commits: int, count: int = 1, now_s: float = 0.0) -> None:
    for commit_lsn in commits:
        one = transaction(commit_lsn)
        for index in range(count):
            window.append(change(one, index), 50, now_s)
        window.commit(Lsn(commit_lsn + 5))


def snapshot(*, xmin: int, xmax: int, running: tuple[int, ...] = (), insert_lsn: int = 0) -> Snapshot:
    return Snapshot(xmin, xmax, frozenset(running), Lsn(insert_lsn))


def places(window: Window, number: int, count: int = 100) -> list[tuple[int, int]]:
    return [(one.transaction.commit_lsn, one.index) for one in window.changes_from(number, count)]


def test_changes_are_numbered_and_read_in_order():
    window = Window(1 << 20, 60)
    fill(window, 100, 200, count=2)
    assert (window.start, window.end) == (0, 4)
    assert places(window, 1, 2) == [(100, 1), (200, 0)]
    assert places(window, 4) == []


def test_what_is_too_old_is_dropped_and_may_be_confirmed():
    window = Window(1 << 20, 60)
    fill(window, 100, now_s=0)
    fill(window, 200, now_s=50)
    window.trim(61)
    assert (window.start, window.end, window.confirmable) == (1, 2, 105)
    with pytest.raises(LookupError, match="change 0 is gone; the oldest held is 1"):
        window.changes_from(0, 1)
    window.trim(200)
    assert (window.start, window.confirmable, window.size_bytes) == (2, 205, 0)


def test_what_is_too_much_is_dropped_in_whole_segments():
    window = Window(1000, 60)
    fill(window, 100, 200, 300)
    assert window.size_bytes > 1000
    window.trim(0)
    assert window.size_bytes <= 1000
    assert window.start > 0


def test_a_large_transaction_is_dropped_piece_by_piece_and_confirmed_only_with_its_last_one():
    window = Window(1 << 30, 60)
    one = transaction(100)
    for index in range(4001):
        window.append(change(one, index), 0, now_s=0 if index < 2000 else 100)
    window.trim(100)
    assert (window.start, window.confirmable) == (2000, 0)
    window.commit(Lsn(105))
    window.trim(161)
    assert (window.start, window.end, window.confirmable) == (4001, 4001, 105)


def test_what_is_needed_stays_and_what_lies_before_it_goes():
    window = Window(2000, 60)
    fill(window, 100, 200, 300, 400)
    assert window.size_bytes > 3000
    assert window.trim(0, needed=1) == 2
    assert (window.start, window.confirmable) == (1, 105)
    assert window.trim(0, needed=2) == 0
    assert window.size_bytes <= 2000


def test_what_is_needed_stays_however_old_it_is():
    window = Window(1 << 20, 60)
    fill(window, 100, 200)
    assert window.trim(1000, needed=0) == 1
    assert (window.start, window.end) == (0, 2)
    assert window.trim(1000) == 0
    assert (window.start, window.end) == (2, 2)


def test_changes_are_counted_with_what_they_take():
    window = Window(1 << 30, 60)
    window.append(change(transaction(100)), 2_000_000, 0)
    assert 4_000_000 < window.size_bytes < 4_100_000


def test_a_transaction_of_one_row_takes_more_than_the_row():
    one, many = Window(1 << 30, 60), Window(1 << 30, 60)
    fill(one, *range(100, 200))
    for index in range(100):
        many.append(change(transaction(100), index), 50, 0)
    assert one.size_bytes > 1.8 * many.size_bytes


def test_the_open_segment_is_never_dropped():
    window = Window(1, 1)
    window.append(change(transaction(100)), 50, now_s=0)
    window.trim(1000)
    assert window.start == 0


def test_a_mark_is_confirmable_when_all_before_it_has_gone():
    window = Window(1 << 20, 60)
    fill(window, 100, now_s=0)
    window.mark(Lsn(500))
    window.trim(1)
    assert window.confirmable == 0
    window.trim(61)
    assert window.confirmable == 500


def test_an_empty_window_confirms_every_mark_and_keeps_only_one():
    window = Window(1 << 20, 60)
    for lsn in (100, 200, 300):
        window.mark(Lsn(lsn))
    assert len(window._marks) == 1
    window.trim(0)
    assert window.confirmable == 300


def test_a_transaction_without_changes_counts_as_a_mark():
    window = Window(1 << 20, 60)
    window.commit(Lsn(100))
    window.trim(0)
    assert window.confirmable == 100


def test_a_position_is_found_by_commit_and_index():
    window = Window(1 << 20, 60)
    fill(window, 100, 200, count=3)
    assert window.number_after(100, 1) == 2
    assert window.number_after(100, 2) == 3
    assert window.number_after(150, 0) == 3
    assert window.number_after(200, 2) == 6
    assert window.number_after(999, 0) == 6


def test_a_position_whose_successors_are_gone_is_a_gap():
    window = Window(1 << 20, 60)
    fill(window, 100, 200, count=2, now_s=0)
    fill(window, 300, now_s=50)
    window.trim(61)
    assert window.number_after(100, 1) is None
    assert window.number_after(200, 0) is None
    assert window.number_after(200, 1) == 4
    assert window.oldest() == (300, 0)


def test_before_the_slots_own_beginning_there_is_a_gap():
    window = Window(1 << 20, 60)
    window.restart((1000, 0))
    assert window.number_after(999, 0) is None
    assert window.number_after(1000, 0) == 0
    assert window.oldest() == (1000, 0)


def test_a_time_is_found_even_if_commit_times_do_not_ascend():
    window = Window(1 << 20, 60)
    for commit_lsn, committed_us in ((100, 10), (200, 30), (300, 20), (400, 40)):
        window.append(change(transaction(commit_lsn, committed_us=committed_us)), 50, 0)
        window.commit(Lsn(commit_lsn + 5))
    assert window.number_at_time(20) == 1
    assert window.number_at_time(30) == 1
    assert window.number_at_time(31) == 3
    assert window.number_at_time(41) == 4
    assert window.number_at_time(10) == 0


def test_a_time_before_all_that_is_known_is_a_gap():
    window = Window(1 << 20, 60)
    assert window.number_at_time(10) is None
    fill(window, 100, 200, now_s=0)
    assert window.number_at_time(99) is None
    fill(window, 300, now_s=50)
    window.trim(61)
    assert window.number_at_time(200) is None
    assert window.number_at_time(201) == 2


def test_a_snapshot_that_sees_all_starts_at_the_end():
    window = Window(1 << 20, 60)
    fill(window, 100, 200)
    assert window.first_unseen(snapshot(xmin=201, xmax=201)) == 2


def test_a_snapshot_finds_what_was_running_however_old_its_id_is():
    window = Window(1 << 20, 60)
    for xid in (50, 7, 51):
        window.append(change(transaction(xid * 10, xid=xid)), 50, 0)
        window.commit(Lsn(xid * 10 + 5))
    assert window.first_unseen(snapshot(xmin=7, xmax=60, running=(7,))) == 1


def test_a_snapshot_finds_what_committed_after_it():
    window = Window(1 << 20, 60)
    for xid in (50, 60, 55):
        window.append(change(transaction(xid * 10, xid=xid)), 50, 0)
        window.commit(Lsn(xid * 10 + 5))
    assert window.first_unseen(snapshot(xmin=52, xmax=52)) == 1


def test_transaction_ids_are_compared_across_the_wrap():
    window = Window(1 << 20, 60)
    for commit_lsn, xid in ((100, (1 << 32) - 2), (200, 3)):
        window.append(change(transaction(commit_lsn, xid=xid)), 50, 0)
        window.commit(Lsn(commit_lsn + 5))
    wrapped = (1 << 32) + 4
    assert window.first_unseen(snapshot(xmin=wrapped, xmax=wrapped)) == 2
    assert window.first_unseen(snapshot(xmin=(1 << 32), xmax=(1 << 32))) == 1


def test_a_transaction_that_came_in_two_streams_is_found_from_its_beginning():
    window = Window(1 << 20, 60)
    window.append(change(transaction(100, xid=9), 0), 50, 0)
    window.break_off()
    window.append(change(transaction(100, xid=9), 1), 50, 0)
    window.commit(Lsn(105))
    assert window.first_unseen(snapshot(xmin=9, xmax=20, running=(9,))) == 0


def test_a_restart_forgets_everything_but_the_numbering():
    window = Window(1 << 20, 60)
    fill(window, 100, 200)
    window.restart((7, 0))
    assert (window.start, window.end, window.size_bytes, window.confirmable) == (2, 2, 0, 0)
    fill(window, 300)
    assert places(window, 2) == [(300, 0)]


def test_the_place_before_a_number_is_that_of_the_change_before_it():
    window = Window(1 << 20, 60)
    window.restart((50, 3))
    assert window.place_before(window.end) == (50, 3)
    fill(window, 100, count=2)
    assert window.place_before(window.end) == (100, 1)
    assert window.place_before(window.end - 1) == (100, 0)
    window.trim(1000)
    assert window.place_before(window.end) == (100, 1)


def at_times(window: Window, *times: int, now_s: float = 0) -> None:
    for number, committed_us in enumerate(times):
        commit_lsn = window.end * 100 + number + 1
        window.append(change(transaction(commit_lsn, committed_us=committed_us)), 50, now_s)
        window.commit(Lsn(commit_lsn + 1))


def test_who_had_the_last_change_that_is_gone_misses_nothing_though_times_are_cut_to_milliseconds():
    window = Window(1 << 20, 60)
    at_times(window, 1_000_100, 2_000_900)
    window.trim(61)
    at_times(window, 3_000_000)
    assert window.number_at_time(2_000_000) == 2
    assert window.number_at_time(1_000_000) is None


def test_two_changes_of_one_millisecond_that_are_gone_cannot_be_told_apart():
    window = Window(1 << 20, 60)
    at_times(window, 2_000_100, 2_000_900)
    window.trim(61)
    assert window.number_at_time(2_000_000) is None
    at_times(window, 2_500_000, now_s=100)
    window.trim(161)
    assert window.number_at_time(2_500_000) == 3


def test_what_came_late_of_a_running_transaction_is_found_where_its_changes_began():
    window = Window(1 << 20, 60)
    fill(window, 100, 200)
    for index, xid in ((1, 100), (2, 150)):
        window.append(change(transaction(200, xid=xid), index), 50, 0)
        window.break_off()
    assert places(window, 0) == [(100, 0), (200, 0), (200, 1), (200, 2)]
    assert window.first_unseen(snapshot(xmin=100, xmax=300, running=(100,))) == 0
    assert window.first_unseen(snapshot(xmin=150, xmax=300, running=(150,))) == 3
