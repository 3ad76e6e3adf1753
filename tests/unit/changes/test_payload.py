from __future__ import annotations

import json

import pytest

from pgcast.changes.oids import builtin_shape
from pgcast.changes.payload import Payloads, commit_timestamp
from pgcast.model.change import ABSENT, Change, Kind, Transaction
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table

COLUMNS = (
    Column("id", 20, -1, is_key=True),
    Column("at", 1184, 3, is_key=False),
    Column("tags", 1009, -1, is_key=False),
)


def make_table(*, primary_key: tuple[int, ...] = (0,)) -> Table:
    shapes = tuple(shape for column in COLUMNS if (shape := builtin_shape(column.type_oid)))
    return Table(Relation(1, "public", "todos", ReplicaIdentity.DEFAULT, COLUMNS), shapes, primary_key)


TABLE = make_table()

VALUES = (b"7", b"2026-01-02 03:04:05+00", b"{a}")
RECORD = b'{"id":7,"at":"2026-01-02T03:04:05+00:00","tags":["a"]}'


def committed(change: Change) -> Change:
    change.transaction = Transaction(1, Lsn(2), 3, b"2026-01-02T03:04:05.678Z", b"5f0c2a9e-000000000a3b4c58-")
    change.index = 42
    return change


def insert(table: Table = TABLE) -> Change:
    return committed(Change(table, Kind.INSERT, RECORD, None, VALUES, None))


def update() -> Change:
    values = (b"7", None, ABSENT)
    old_values = (b"7", ABSENT, ABSENT)
    return committed(Change(TABLE, Kind.UPDATE, b'{"id":7,"at":null}', b'{"id":7}', values, old_values))


def delete() -> Change:
    return committed(Change(TABLE, Kind.DELETE, None, b'{"id":7}', None, (b"7", ABSENT, ABSENT)))


def truncate() -> Change:
    return committed(Change(TABLE, Kind.TRUNCATE, None, None, None, None))


def test_an_insert_in_todays_shape():
    assert Payloads().current(insert()) == (
        b'{"schema":"public","table":"todos","type":"INSERT",'
        b'"commit_timestamp":"2026-01-02T03:04:05.678Z",'
        b'"columns":[{"name":"id","type":"int8"},{"name":"at","type":"timestamptz"},{"name":"tags","type":"_text"}],'
        b'"record":{"id":7,"at":"2026-01-02T03:04:05+00:00","tags":["a"]},'
        b'"errors":null,'
        b'"position":"5f0c2a9e-000000000a3b4c58-0000002a"}'
    )


def test_an_update_has_both_rows():
    data = json.loads(Payloads().current(update()))

    assert data["type"] == "UPDATE"
    assert data["record"] == {"id": 7, "at": None}
    assert data["old_record"] == {"id": 7}


def test_a_delete_has_no_record():
    data = json.loads(Payloads().current(delete()))

    assert data["old_record"] == {"id": 7}
    assert "record" not in data


def test_a_truncate_has_neither_row():
    assert not {"record", "old_record"} & json.loads(Payloads().current(truncate())).keys()


def test_names_are_escaped():
    relation = Relation(1, 'a"b', "c\\d", ReplicaIdentity.DEFAULT, (Column('e"f', 20, -1, is_key=True),))
    table = Table(relation, (builtin_shape(20),))

    data = json.loads(Payloads().current(committed(Change(table, Kind.INSERT, b"{}", None, (b"1",), None))))

    assert (data["schema"], data["table"], data["columns"]) == ('a"b', "c\\d", [{"name": 'e"f', "type": "int8"}])


def test_an_insert_in_the_oldest_shape():
    assert Payloads().legacy(insert(), as_text=False) == (
        b'{"schema":"public","table":"todos","type":"INSERT",'
        b'"commit_timestamp":"2026-01-02T03:04:05.678Z",'
        b'"columns":[{"flags":["key"],"name":"id","type":"int8","type_modifier":4294967295},'
        b'{"flags":[],"name":"at","type":"timestamptz","type_modifier":3},'
        b'{"flags":[],"name":"tags","type":"_text","type_modifier":4294967295}],'
        b'"record":{"id":7,"at":"2026-01-02T03:04:05+00:00","tags":["a"]},'
        b'"errors":null,'
        b'"position":"5f0c2a9e-000000000a3b4c58-0000002a"}'
    )


def test_an_insert_in_the_oldest_shape_as_text():
    data = json.loads(Payloads().legacy(insert(), as_text=True))

    assert data["record"] == {"id": "7", "at": "2026-01-02T03:04:05Z", "tags": "{a}"}
    assert "old_record" not in data


def test_an_update_in_the_oldest_shape():
    data = json.loads(Payloads().legacy(update(), as_text=False))

    assert (data["record"], data["old_record"]) == ({"id": 7, "at": None}, {"id": 7})


def test_an_update_as_text_leaves_out_what_was_not_sent():
    data = json.loads(Payloads().legacy(update(), as_text=True))

    assert (data["record"], data["old_record"]) == ({"id": "7", "at": None}, {"id": "7"})


@pytest.mark.parametrize(("as_text", "key"), [(False, 7), (True, "7")])
def test_a_delete_in_the_oldest_shape_has_all_columns(*, as_text, key):
    data = json.loads(Payloads().legacy(delete(), as_text=as_text))

    assert data["old_record"] == {"id": key, "at": None, "tags": None}
    assert "record" not in data


@pytest.mark.parametrize("as_text", [False, True])
def test_a_truncate_in_the_oldest_shape_has_neither_columns_nor_rows(*, as_text):
    assert json.loads(Payloads().legacy(truncate(), as_text=as_text)) == {
        "schema": "public",
        "table": "todos",
        "type": "TRUNCATE",
        "commit_timestamp": "2026-01-02T03:04:05.678Z",
        "errors": None,
        "position": "5f0c2a9e-000000000a3b4c58-0000002a",
    }


@pytest.mark.parametrize(("primary_key", "flags"), [((2,), [[], [], ["key"]]), ((), [["key"], [], []])])
def test_the_key_flags_follow_the_primary_key_and_without_one_the_identity(primary_key, flags):
    data = json.loads(Payloads().legacy(insert(make_table(primary_key=primary_key)), as_text=False))

    assert [column["flags"] for column in data["columns"]] == flags


def test_only_so_many_tables_are_kept():
    payloads = Payloads(max_tables=2)
    tables = [make_table() for _ in range(5)]

    rendered = {payloads.current(insert(table)) for table in (*tables, *tables, tables[-1])}

    assert rendered == {Payloads().current(insert())}
    assert len(payloads._parts) == 2


@pytest.mark.parametrize(
    ("committed_us", "text"),
    [
        (1_767_323_045_678_901, b"2026-01-02T03:04:05.678Z"),
        (0, b"1970-01-01T00:00:00.000Z"),
        (-1, b"1969-12-31T23:59:59.999Z"),
        (-62_135_596_800_000_000, b"0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999_999, b"9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_commit_time_is_printed_in_milliseconds(committed_us, text):
    assert commit_timestamp(committed_us) == text


def test_a_view_has_the_key_and_the_columns_selected_in_the_order_of_the_table():
    payloads = Payloads()
    data = json.loads(payloads.view(insert(), ("tags",)))
    whole = json.loads(payloads.current(insert()))

    assert data.pop("columns") == [whole["columns"][0], whole["columns"][2]]
    assert data.pop("record") == {"id": 7, "tags": ["a"]}
    del whole["columns"], whole["record"]
    assert data == whole


def test_a_view_of_old_rows():
    payloads = Payloads()
    updated, deleted = (json.loads(payloads.view(one, ("tags", "nope"))) for one in (update(), delete()))

    assert (updated["record"], updated["old_record"]) == ({"id": 7}, {"id": 7})
    assert (deleted["old_record"], "record" in deleted) == ({"id": 7}, False)


def test_a_view_of_a_table_without_key_has_the_columns_of_the_identity():
    data = json.loads(Payloads().view(insert(make_table(primary_key=())), ("at",)))

    assert data["record"] == {"id": 7, "at": "2026-01-02T03:04:05+00:00"}


# What a role may see

VISIBLE = frozenset({"id", "at"})


def test_a_view_has_only_what_is_visible():
    payloads = Payloads()
    inserted, updated, deleted = (json.loads(payloads.view(one, (), VISIBLE)) for one in (insert(), update(), delete()))

    assert [column["name"] for column in inserted["columns"]] == ["id", "at"]
    assert inserted["record"] == {"id": 7, "at": "2026-01-02T03:04:05+00:00"}
    assert updated["old_record"] == deleted["old_record"] == {"id": 7}


def test_a_selection_is_cut_to_what_is_visible_its_key_too():
    data = json.loads(Payloads().view(insert(), ("tags", "at"), frozenset({"at"})))

    assert data["record"] == {"at": "2026-01-02T03:04:05+00:00"}


@pytest.mark.parametrize("as_text", [False, True])
def test_the_oldest_protocol_has_only_what_is_visible(as_text):
    payloads = Payloads()
    inserted = json.loads(payloads.legacy(insert(), as_text=as_text, visible=VISIBLE))
    deleted = json.loads(payloads.legacy(delete(), as_text=as_text, visible=VISIBLE))

    assert [column["name"] for column in inserted["columns"]] == ["id", "at"]
    assert list(inserted["record"]) == ["id", "at"]
    assert deleted["old_record"] == {"id": "7" if as_text else 7, "at": None}
    assert json.loads(payloads.legacy(insert(), as_text=as_text))["columns"][0] == inserted["columns"][0]


def test_a_refusal_has_the_table_the_time_and_the_error_alone():
    payloads = Payloads()
    inserted, updated = (json.loads(payloads.refused(one, "Error 401: Unauthorized")) for one in (insert(), update()))
    whole = json.loads(payloads.current(insert()))

    assert inserted == {**whole, "columns": [], "record": {}, "errors": ["Error 401: Unauthorized"]}
    assert (updated["record"], updated["old_record"]) == ({}, {})


LONG = b"x" * 100
SHORT = b'{"id":7,"at":"2026-01-02T03:04:05+00:00"}'
TOO_LARGE = ["Error 413: Payload Too Large"]


def long_update() -> Change:
    values = (b"7", b"2026-01-02 03:04:05+00", b"{%b}" % LONG)
    record = b'{"id":7,"at":"2026-01-02T03:04:05+00:00","tags":["%b"]}' % LONG
    return committed(Change(TABLE, Kind.UPDATE, record, b'{"id":7}', values, (b"7", ABSENT, ABSENT)))


def test_a_change_over_the_limit_comes_with_its_short_values_and_an_error():
    change = long_update()
    whole = Payloads().current(change)
    assert Payloads(max_bytes=len(whole)).current(change) == whole
    data = json.loads(Payloads(max_bytes=len(whole) - 1).current(change))
    assert data.pop("record") == json.loads(SHORT)
    assert data.pop("errors") == TOO_LARGE
    assert {**data, "record": json.loads(whole)["record"], "errors": None} == json.loads(whole)


def test_of_selected_columns_those_count_alone():
    payloads = Payloads(max_bytes=len(Payloads().view(long_update(), ("at",))))
    assert json.loads(payloads.current(long_update()))["errors"] == TOO_LARGE
    assert json.loads(payloads.view(long_update(), ("at",)))["errors"] is None
    too_large = json.loads(payloads.view(long_update(), ("tags",)))
    assert (too_large["record"], too_large["errors"], len(too_large["columns"])) == ({"id": 7}, TOO_LARGE, 2)


@pytest.mark.parametrize("as_text", [True, False])
def test_the_oldest_protocol_has_the_same_limit(as_text: bool):  # noqa: FBT001
    data = json.loads(Payloads(max_bytes=100).legacy(long_update(), as_text=as_text))
    assert data["errors"] == TOO_LARGE
    assert data["record"] == ({"id": "7", "at": "2026-01-02T03:04:05Z"} if as_text else json.loads(SHORT))
    assert [column["name"] for column in data["columns"]] == ["id", "at", "tags"]
