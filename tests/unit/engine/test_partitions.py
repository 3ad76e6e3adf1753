"""When partitions come and go: what is read again, and what only a stream that is opened anew knows."""

from __future__ import annotations

import pytest

from pgcast.engine.partitions import Attached, Partitions, Turn, goes_stale
from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.model.snapshot import Snapshot

LOW, FIVE, SIX, ROOT = 1, 5, 6, 100


def attached(insert_lsn: int, *partitions: tuple[int, int], xmin: int = 50) -> Attached:
    """What is attached to the root, as (partition, xid)."""
    return Attached(
        frozenset((partition, ROOT, xid) for partition, xid in partitions),
        Snapshot(xmin, xmin, frozenset(), Lsn(insert_lsn)),
    )


def read(partitions: Partitions, xid: int, commit_lsn: int) -> bool:
    """Read a transaction; say whether the stream has to be opened anew behind it."""
    partitions.taken.begin(xid, Lsn(commit_lsn))
    partitions.taken.commit(Lsn(commit_lsn + 8))
    return partitions.is_turn(xid)


def looked(*known: tuple[int, int], has_backlog: bool = False) -> Partitions:
    """After a first look, at 1000."""
    partitions = Partitions(has_backlog=has_backlog)
    assert partitions.look(attached(1000, *known)) is None
    return partitions


@pytest.mark.parametrize(
    ("version", "expected"), [(120_022, False), (130_000, True), (149_999, True), (150_000, False)]
)
def test_only_versions_13_and_14_are_concerned(version: int, expected: bool):  # noqa: FBT001
    assert goes_stale(version) is expected


def test_where_nothing_changes_nothing_happens():
    partitions = looked((LOW, 7))
    assert partitions.look(attached(2000, (LOW, 7))) is None
    assert partitions.passed(Lsn(3000)) is Turn.NO


def test_what_was_attached_and_read_is_the_place_from_which_to_read_again():
    partitions = looked((LOW, 7))
    assert not read(partitions, 60, 1100)
    assert partitions.look(attached(2000, (LOW, 7), (FIVE, 60))) == 1108
    assert partitions.passed(Lsn(3000)) is Turn.NO


def test_of_several_the_first_is_and_the_others_come_again():
    partitions = looked()
    read(partitions, 61, 1100)
    read(partitions, 60, 1200)
    assert partitions.look(attached(2000, (FIVE, 60), (SIX, 61))) == 1108
    assert read(partitions, 60, 1200)
    assert partitions.passed(Lsn(3000)) is Turn.NO


def test_what_was_attached_and_is_not_read_yet_is_awaited():
    partitions = looked()
    assert partitions.look(attached(2000, (FIVE, 60))) is None
    assert partitions.passed(Lsn(1999)) is Turn.NO
    assert not read(partitions, 59, 1100)
    assert read(partitions, 60, 1200)
    assert not read(partitions, 60, 1200), "once"
    assert partitions.passed(Lsn(2000)) is Turn.NO


def test_what_the_stream_does_not_tell_of_is_lost_once_its_place_has_been_passed():
    partitions = looked()
    assert partitions.look(attached(2000, (FIVE, 60))) is None
    assert partitions.passed(Lsn(2000)) is Turn.LOST
    assert partitions.passed(Lsn(2000)) is Turn.NO


def test_a_root_that_is_published_later_is_no_attaching():
    partitions = looked()
    assert partitions.look(attached(2000, (FIVE, 49), (SIX, 7))) is None
    assert partitions.passed(Lsn(3000)) is Turn.NO


def test_transaction_ids_are_compared_in_their_circle():
    partitions = Partitions(has_backlog=False)
    partitions.look(attached(1000, xmin=(3 << 32) + 5))
    assert partitions.look(attached(2000, (FIVE, (1 << 32) - 2))) is None
    assert partitions.passed(Lsn(3000)) is Turn.NO


def test_what_was_detached_needs_a_new_stream_once_that_place_has_been_passed():
    partitions = looked((LOW, 7))
    assert partitions.look(attached(2000)) is None
    assert partitions.passed(Lsn(1999)) is Turn.NO
    assert partitions.passed(Lsn(2000)) is Turn.ANEW
    assert partitions.passed(Lsn(2000)) is Turn.NO


def test_what_was_detached_and_attached_between_two_looks_is_read_again():
    partitions = looked((LOW, 7))
    read(partitions, 60, 1100)
    assert partitions.look(attached(2000, (LOW, 60))) == 1108


def test_of_a_backlog_any_transaction_may_have_attached_what_is_there():
    partitions = looked((LOW, 7), (FIVE, 8), has_backlog=True)
    assert not read(partitions, 6, 500)
    assert read(partitions, 7, 600)
    assert partitions.passed(Lsn(999)) is Turn.NO
    assert partitions.passed(Lsn(1000)) is Turn.ANEW, "what else came and went in it is not known"
    assert not read(partitions, 8, 1100)


def test_a_backlog_without_partitions_is_left_alone():
    assert looked(has_backlog=True).passed(Lsn(1000)) is Turn.NO


def test_the_stretch_since_the_last_look_but_one_can_be_read_again():
    partitions = Partitions(has_backlog=False)
    assert partitions.confirmable == NO_LSN
    read(partitions, 60, 1100)
    read(partitions, 61, 2100)
    for insert_lsn, confirmable in ((1000, NO_LSN), (2000, 1000), (3000, 2000)):
        partitions.look(attached(insert_lsn))
        assert partitions.confirmable == confirmable
    partitions.look(attached(4000))
    assert partitions.taken.end_of(60) == NO_LSN
    assert partitions.taken.end_of(61) == 2108
