"""What was taken over of the recent transactions: found again in a second reading, which may bring more."""

from __future__ import annotations

import struct

from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.wal.taken import Taken


def row(lsn: int) -> bytes:
    # w | start of the WAL data: 8 | end of WAL on the server: 8 | time: 8 | message
    return struct.pack(">BQQq", ord("w"), lsn, 0, 0) + b"I"


def read(taken: Taken, commit_lsn: int, *records: int, is_whole: bool = True) -> list[int]:
    """Read a transaction; return the records that were new."""
    taken.begin(commit_lsn % 1000, Lsn(commit_lsn))
    new = [record for record in records if not taken.is_repeat(row(record))]
    if is_whole:
        taken.commit(Lsn(commit_lsn + 8))
    else:
        taken.break_off()
    return new


def test_what_is_missing_of_a_first_reading_is_new_in_the_second_and_no_more_in_the_third():
    taken = Taken()
    assert read(taken, 100, 10, 30) == [10, 30]
    assert read(taken, 200, 120) == [120]
    assert read(taken, 100, 10, 20, 30, 40) == [20, 40]
    assert read(taken, 200, 110, 120) == [110]
    assert read(taken, 100, 10, 20, 30, 40) == []


def test_a_transaction_that_broke_off_goes_on_where_it_was():
    taken = Taken()
    read(taken, 100, 10, 20, is_whole=False)
    assert read(taken, 100, 10, 15, 20, 30) == [15, 30]


def test_a_second_reading_that_broke_off_forgets_nothing_of_the_first():
    taken = Taken()
    read(taken, 100, 10, 30, 50)
    assert read(taken, 100, 10, 20, is_whole=False) == [20]
    assert taken.end_of(100) == 108
    assert read(taken, 100, 10, 20, 30, 40, 50) == [40]


def test_rows_of_one_record_are_counted():
    taken = Taken()
    read(taken, 100, 10, 10, is_whole=False)
    assert read(taken, 100, 10, 10, 10, 10) == [10, 10]


def test_begin_tells_what_is_remembered():
    taken = Taken()
    assert not taken.begin(1, Lsn(100))
    taken.break_off()
    assert taken.begin(1, Lsn(100))
    taken.commit(Lsn(108))
    taken.forget(Lsn(107))
    assert taken.end_of(1) == 108
    taken.forget(Lsn(108))
    assert taken.end_of(1) == NO_LSN
    assert not taken.begin(1, Lsn(100))


def test_the_end_of_a_transaction_is_known_once_it_is_complete():
    taken = Taken()
    taken.begin(7, Lsn(100))
    assert taken.end_of(7) == NO_LSN
    taken.commit(Lsn(108))
    assert taken.end_of(7) == 108
    assert taken.end_of(8) == NO_LSN


def test_what_has_not_ended_below_a_place_is_kept():
    taken = Taken()
    read(taken, 100, 10)
    taken.begin(2, Lsn(200))
    taken.forget(Lsn(1000))
    assert taken.end_of(100) == NO_LSN
    taken.commit(Lsn(208))
    assert taken.end_of(2) == 208


def test_memory_is_bounded_and_the_oldest_go_first():
    taken = Taken(max_records=4)
    read(taken, 100, 1, 2)
    read(taken, 200, 3, 4)
    read(taken, 300, 5)
    assert (taken.end_of(100), taken.end_of(200), taken.end_of(300)) == (NO_LSN, NO_LSN, 308)


def test_an_open_transaction_that_is_too_large_is_forgotten_whole():
    taken = Taken(max_records=4)
    read(taken, 100, 1, 2, 3, 4, 5, 6, is_whole=False)
    assert not taken.begin(100, Lsn(100))


def test_but_not_while_it_is_read_again():
    taken = Taken(max_records=4)
    read(taken, 100, 1, 3, is_whole=False)
    assert read(taken, 100, 1, 2, 2, 2, 2, 3, 4) == [2, 2, 2, 2, 4]


def test_outside_a_transaction_nothing_is_a_repeat():
    assert not Taken().is_repeat(row(1))
