from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgcast.webhooks.spool import Draft, Spool, SpoolDamaged, SpoolStatus, is_damage

NOW_S = 1000.0


def draft(number: int, *, size: int = 100, changes: int = 1) -> Draft:
    return Draft(f"msg_{number}", f"aaaaaaaa-{number}-0", f"aaaaaaaa-{number}-9", changes, b"x" * size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "key.sqlite"


@pytest.fixture
def spool(path: Path) -> Iterator[Spool]:
    made = Spool(path, 1 << 20)
    yield made
    made.close()


def drain(spool: Spool) -> list[str]:
    got = []
    while (head := spool.head()) is not None:
        got.append(head.draft.id)
        spool.settle(head.number)
    return got


def test_deliveries_leave_in_the_order_in_which_they_came(spool: Spool):
    spool.append([draft(1), draft(2)], NOW_S)
    spool.append([draft(3)], NOW_S)
    assert drain(spool) == ["msg_1", "msg_2", "msg_3"]


def test_what_was_appended_is_there_for_the_next_who_opens_it(path: Path, spool: Spool):
    spool.append([draft(1)], NOW_S)
    spool.set_label("mine")
    other = Spool(path, 1 << 20, must_exist=True)
    head = other.head()
    assert head is not None
    assert (head.draft, head.spooled_s, head.attempts, head.died_s) == (draft(1), NOW_S, 0, None)
    assert other.place() == (1, "aaaaaaaa-1-9")
    assert other.status().label == "mine"
    other.close()


def test_what_came_in_before_is_passed_over_though_it_has_left_since(spool: Spool):
    spool.append([draft(1), draft(2)], NOW_S)
    drain(spool)
    spool.append([draft(1), draft(2), draft(3)], NOW_S)
    assert drain(spool) == ["msg_3"]
    spool.append([draft(3)], NOW_S)
    assert spool.place() == (1, "aaaaaaaa-3-9")
    other_history = Draft("msg_x", "bbbbbbbb-1-0", "bbbbbbbb-1-0", 1, b"")
    spool.append([other_history], NOW_S)
    assert drain(spool) == ["msg_x"]


def test_a_delivery_that_is_in_already_is_left_as_it_is(spool: Spool):
    spool.append([draft(1), draft(2)], NOW_S)
    spool.append([draft(1, size=5), draft(3)], NOW_S)
    assert spool.status().waiting == 3
    head = spool.head()
    assert head is not None
    assert len(head.draft.body) == 100


def test_a_transaction_that_came_in_part_and_comes_again_whole_is_not_taken_for_its_part(spool: Spool):
    part = Draft("msg_1", "aaaaaaaa-1-0", "aaaaaaaa-1-4", 5, b"five")
    whole = Draft("msg_1", "aaaaaaaa-1-0", "aaaaaaaa-1-9", 10, b"all ten")
    spool.append([part], NOW_S)
    spool.append([whole], NOW_S)
    spool.append([whole], NOW_S)
    bodies = []
    ids = set()
    while (head := spool.head()) is not None:
        bodies.append(head.draft.body)
        ids.add(head.draft.id)
        spool.settle(head.number)
    assert bodies == [b"five", b"all ten"]
    assert len(ids) == 2, "a receiver that remembers ids must not pass over the rest"


def test_a_deadline_does_not_count_from_a_future_that_a_wrong_clock_saw(spool: Spool):
    spool.append([draft(1)], NOW_S + 1e9)
    for now_s in (NOW_S, NOW_S + 5):
        head = spool.head()
        assert head is not None
        spool.note_failure(head.number, "answered 500", now_s)
    head = spool.head()
    assert head is not None
    assert head.since_s == NOW_S


def test_the_position_outlives_the_deliveries_until_another_history_begins(spool: Spool):
    spool.append([draft(1)], NOW_S)
    drain(spool)
    assert spool.place() == (1, "aaaaaaaa-1-9")
    spool.append([draft(1)], NOW_S, history=1)
    assert drain(spool) == []
    spool.append([draft(1)], NOW_S, history=2)
    assert spool.place() == (2, "aaaaaaaa-1-9")
    assert drain(spool) == ["msg_1"]
    spool.append([draft(1), draft(2)], NOW_S)
    assert drain(spool) == ["msg_2"], "a history that is not known is the last one"


def test_failures_are_counted_and_the_dead_set_aside(spool: Spool):
    spool.append([draft(1), draft(2)], NOW_S)
    head = spool.head()
    assert head is not None
    spool.note_failure(head.number, "answered 500", NOW_S)
    spool.bury(head.number, "answered 503", 2000.0)
    (dead,) = spool.list(is_dead=True)
    assert (dead.draft.id, dead.attempts, dead.reason, dead.died_s) == ("msg_1", 2, "answered 503", 2000.0)
    assert dead.draft.body == b""
    assert drain(spool) == ["msg_2"]
    found = spool.find("msg_1")
    assert found is not None
    assert found.draft == draft(1)
    assert spool.find("msg_2") is None


def test_what_is_replayed_comes_before_what_is_newer_with_a_new_deadline(spool: Spool):
    spool.append([draft(1), draft(2), draft(3)], NOW_S)
    assert spool.bury_all("gone", NOW_S) == 3
    spool.append([draft(4)], NOW_S)
    assert spool.replay(["msg_3", "msg_9", "msg_4"], 5000.0) == 1
    head = spool.head()
    assert head is not None
    assert (head.draft.id, head.since_s, head.attempts) == ("msg_3", 5000.0, 0)
    assert spool.replay(None, 5000.0) == 2
    assert drain(spool) == ["msg_1", "msg_2", "msg_3", "msg_4"]


def test_what_is_dropped_is_gone(spool: Spool):
    spool.append([draft(1), draft(2), draft(3)], NOW_S)
    head = spool.head()
    assert head is not None
    spool.bury(head.number, "", NOW_S)
    assert spool.drop(["msg_2", "msg_9"]) == 1, "one that waits"
    assert spool.drop(None) == 1, "all that were set aside"
    assert drain(spool) == ["msg_3"]


def test_an_endpoint_that_is_gone_has_its_deliveries_set_aside_at_once(spool: Spool):
    spool.append([draft(1)], NOW_S, dead_because="answered 410 Gone")
    assert spool.head() is None
    assert [dead.reason for dead in spool.list(is_dead=True)] == ["answered 410 Gone"]


def test_the_status_counts_what_waits_and_what_is_dead(spool: Spool):
    assert spool.status() == SpoolStatus()
    spool.append([draft(1), draft(2), draft(3)], NOW_S)
    spool.append([draft(4)], 2000.0)
    head = spool.head()
    assert head is not None
    spool.bury(head.number, "", NOW_S)
    assert spool.status() == SpoolStatus("", 3, 1200, 1, 400, NOW_S)
    spool.replay(None, NOW_S)
    assert spool.status() == SpoolStatus("", 4, 1600, 0, 0, NOW_S)
    drain(spool)
    assert spool.status() == SpoolStatus()


def test_a_full_spool_loses_its_oldest_the_dead_before_those_that_wait(path: Path):
    spool = Spool(path, 2000)
    spool.append([draft(1, changes=2), draft(2)], NOW_S)
    second = spool.list(is_dead=False)[1]
    spool.bury(second.number, "", NOW_S)
    assert spool.append([draft(3), draft(4), draft(5)], NOW_S) == 0, "just full"
    assert spool.append([draft(6)], NOW_S) == 1
    assert [one.draft.id for one in spool.list(is_dead=True)] == []
    assert spool.append([draft(7)], NOW_S) == 2
    assert drain(spool) == ["msg_3", "msg_4", "msg_5", "msg_6", "msg_7"]
    status = spool.status()
    assert (status.lost, status.lost_positions) == (3, ("aaaaaaaa-2-0", "aaaaaaaa-1-9"))
    spool.close()


def test_a_delivery_larger_than_the_spool_is_lost_and_counted(path: Path):
    spool = Spool(path, 1000)
    assert spool.append([draft(1, size=2000, changes=7)], NOW_S) == 7
    assert spool.head() is None
    spool.close()


def test_the_file_is_nobody_else_s_business(path: Path, spool: Spool):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"this is no database, it is a text" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_spool_is_told_apart(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(SpoolDamaged, match=r"."):
        Spool(path, 1)


def test_a_spool_of_another_version_and_another_s_database_are_told_apart(path: Path):
    for statement in ("pragma user_version = 99", "create table theirs (a)"):
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()
        with pytest.raises(SpoolDamaged, match="this pgcast reads 1"):
            Spool(path, 1)
        path.unlink()


def test_a_missing_file_is_made_only_where_that_is_wanted(path: Path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Spool(path, 1, must_exist=True)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError) as caught:
        Spool(path, 1)
    assert not is_damage(caught.value)


def test_all_of_a_batch_comes_in_or_nothing(path: Path, spool: Spool):
    spool.append([draft(0)], NOW_S)
    with pytest.raises(sqlite3.Error):
        spool.append([draft(1), Draft("msg_2", "a", "b", object(), b"")], NOW_S)  # type: ignore[arg-type]
    assert spool.status().waiting == 1
    assert spool.place() == (1, "aaaaaaaa-0-9")


def test_a_file_that_has_become_empty_gives_its_space_back(path: Path, spool: Spool):
    spool._limit_bytes = 1 << 30
    spool.append([draft(number, size=200_000) for number in range(60)], NOW_S)
    drain(spool)
    for _ in range(4):
        assert spool.head() is None
    spool.close()
    assert path.stat().st_size < 6_000_000


def test_the_next_one_is_known_by_its_number_alone(spool: Spool):
    assert spool.head_number() is None
    spool.append([draft(1), draft(2)], NOW_S)
    assert spool.head_number() == 1
    spool.settle(1)
    assert spool.head_number() == 2
