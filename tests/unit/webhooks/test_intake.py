from __future__ import annotations

import json

from making import change, table, transaction

from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Change, Transaction
from pgcast.webhooks.intake import Intake

TODOS = table()
ENTRY = Entry(1, ROW_KINDS)


def render(of: Change) -> bytes:
    return b'{"at":[%d,%d]}' % (of.transaction.commit_lsn, of.index)


def make(*, max_bytes: int = 10_000, buffer_bytes: int = 1_000_000) -> Intake:
    return Intake("key", [ENTRY], render, max_bytes=max_bytes, buffer_bytes=buffer_bytes)


def take(intake: Intake, of: Transaction | int, *indices: int, commit: bool = True) -> None:
    whole = transaction(of) if isinstance(of, int) else of
    for index in indices:
        intake.take(change(whole, index, on=TODOS), (1,))
    if commit:
        intake.commit()


def places(intake: Intake) -> list[list[tuple[int, int]]]:
    """What each delivery of a batch carries, as (commit LSN, index)."""
    return [[tuple(one["at"]) for one in json.loads(draft.body)["changes"]] for draft in intake.batch()[1]]


def test_a_transaction_is_one_delivery():
    intake = make()
    take(intake, 100, 0, 2)
    take(intake, 200, 1)
    _, (first, second) = intake.batch()
    assert first.body == (b'{"changes":[{"at":[100,0]},{"at":[100,2]}],"commit_timestamp":"2026-01-02T03:04:05.678Z"}')
    assert (first.first_position, first.last_position, first.changes) == (
        "0a0b0c0d-0000000000000064-00000000",
        "0a0b0c0d-0000000000000064-00000002",
        2,
    )
    assert first.id != second.id
    assert intake.news.is_set() is False
    assert intake.pending_bytes == len(first.body) + len(second.body)


def test_nothing_is_ready_before_the_commit():
    intake = make()
    take(intake, 100, 0, commit=False)
    assert not intake.news.is_set()
    assert intake.batch()[1] == []
    assert intake.unsafe_from == 100


def test_a_large_transaction_is_split_where_it_grows_too_long():
    intake = make(max_bytes=40)
    take(intake, 100, *range(5))
    assert places(intake) == [[(100, 0), (100, 1)], [(100, 2), (100, 3)], [(100, 4)]]


def test_a_change_that_is_too_long_alone_goes_alone():
    intake = make(max_bytes=5)
    take(intake, 100, 0, 1)
    assert places(intake) == [[(100, 0)], [(100, 1)]]


def test_what_is_stored_no_longer_holds_the_slot_back():
    intake = make()
    take(intake, 100, 0)
    take(intake, 200, 0)
    assert intake.unsafe_from == 100
    _, (first, second) = intake.batch()
    intake.stored([first])
    assert intake.unsafe_from == 200
    assert intake.news.is_set()
    intake.stored([second])
    assert (intake.unsafe_from, intake.pending_bytes) == (None, 0)


def test_a_batch_is_bounded_in_bytes():
    intake = make(max_bytes=10_000_000)
    intake._render = lambda _change: b'"%s"' % (b"x" * 600_000)
    for number in range(4):
        take(intake, 100 + number, 0)
    assert len(intake.batch()[1]) == 2


def test_repeats_are_known_by_the_last_position_of_an_earlier_run():
    intake = make()
    intake.know_place(1, "0a0b0c0d-00000000000000c8-00000001")
    take(intake, 100, 0)
    take(intake, 200, 0, 1, 2)
    take(intake, 300, 0)
    assert places(intake) == [[(200, 2)], [(300, 0)]]


def test_a_position_of_another_history_counts_for_nothing():
    intake = make()
    intake.know_place(1, "ffffffff-00000000000000c8-00000001")
    take(intake, 100, 0)
    assert places(intake) == [[(100, 0)]]
    other = make()
    other.know_place(1, "0a0b0c0d-00000000000000c8-00000001")
    other.lost()
    take(other, 100, 0)
    assert places(other) == [[(100, 0)]]


def test_histories_are_stored_apart_and_their_ids_differ():
    intake = make()
    intake.know_place(1, "")
    take(intake, 100, 0)
    intake.lost()
    take(intake, 100, 0)
    history, (first,) = intake.batch()
    assert history == 1
    intake.stored([first])
    history, (second,) = intake.batch()
    assert history == 2
    assert first.first_position == second.first_position
    assert first.id != second.id


def test_what_is_no_position_is_none():
    intake = make()
    intake.know_place(1, "")
    take(intake, 1, 0)
    assert places(intake) == [[(1, 0)]]


def test_the_rest_of_a_transaction_after_a_break_is_a_delivery_of_its_own():
    intake = make()
    take(intake, 100, 0, commit=False)
    intake.break_off()
    take(intake, 100, 1)
    assert places(intake) == [[(100, 0)], [(100, 1)]]


def test_a_transaction_whose_rest_never_comes_is_not_mixed_with_the_next():
    intake = make()
    take(intake, 100, 0, commit=False)
    take(intake, 200, 0)
    assert places(intake) == [[(100, 0)], [(200, 0)]]


def test_reading_waits_for_a_spool_that_is_slow_and_not_for_one_that_cannot_be_written():
    intake = make(buffer_bytes=100)
    take(intake, 100, *range(20))
    assert intake.is_full
    intake.is_in_trouble = True
    assert not intake.is_full


def test_what_no_longer_fits_into_memory_stays_in_the_wal():
    intake = make(buffer_bytes=100)
    intake.is_in_trouble = True
    take(intake, 100, *range(8))
    take(intake, 200, 0, 1)
    take(intake, 300, 0)
    assert intake.skipped == 3
    intake.stored(intake.batch()[1])
    assert intake.unsafe_from == 200, "a restart finds it there"
    intake.is_in_trouble = False
    take(intake, 400, 0)
    assert (intake.skipped, intake.batch()[1]) == (4, []), "it comes after what was skipped"


def test_what_is_given_up_is_counted_and_holds_nothing_back():
    intake = make(buffer_bytes=100)
    intake.is_in_trouble = True
    take(intake, 100, *range(8))
    take(intake, 200, 0, 1)
    _, stale = intake.batch()
    assert intake.give_up() == 10
    assert (intake.unsafe_from, intake.pending_bytes, intake.skipped) == (None, 0, 0)
    take(intake, 300, 0)
    intake.stored(stale)
    assert places(intake) == [[(300, 0)]], "what was written meanwhile takes nothing else with it"
