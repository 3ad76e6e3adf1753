from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from pgcast.changes.oids import builtin_shape
from pgcast.changes.rows import make_row_reader
from pgcast.model.change import ABSENT, Kind
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table

if TYPE_CHECKING:
    from collections.abc import Iterable

INT8, TEXT, BOOL = 20, 25, 16
TOAST = object()


def table(
    identity: ReplicaIdentity = ReplicaIdentity.DEFAULT,
    *,
    keys: Iterable[str] = ("id",),
    primary_key: tuple[int, ...] = (0,),
    has_row_security: bool = False,
) -> Table:
    """Make a table of three columns: id int8, title text, done bool."""
    columns = tuple(
        Column(name, oid, -1, name in keys) for name, oid in (("id", INT8), ("title", TEXT), ("done", BOOL))
    )
    shapes = tuple(shape for column in columns if (shape := builtin_shape(column.type_oid)))
    return Table(Relation(1, "public", "todos", identity, columns), shapes, primary_key, has_row_security)


FULL = {"identity": ReplicaIdentity.FULL, "keys": ("id", "title", "done")}


def row(marker: str, *values: object) -> bytes:
    """Lay a tuple out: its marker, the number of columns, then each value's kind, size and text."""
    parts = [marker.encode(), struct.pack(">H", len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif value is TOAST:
            parts.append(b"u")
        else:
            text = str(value).encode()
            parts += (b"t", struct.pack(">I", len(text)), text)
    return b"".join(parts)


def test_an_insert_has_the_new_row():
    made = table()
    data = row("N", 7, 'say "hi"', "t")

    change = make_row_reader(made).insert(data, 0)

    assert change.table is made
    assert change.kind is Kind.INSERT
    assert change.record == b'{"id":7,"title":"say \\"hi\\"","done":true}'
    assert change.values == (b"7", b'say "hi"', b"t")
    assert (change.old_record, change.old_values) == (None, None)


def test_a_tuple_is_read_from_where_it_starts():
    assert make_row_reader(table()).insert(b"I\0\0\0\1" + row("N", 7, "", "f"), 5).values == (b"7", b"", b"f")


def test_null_is_null():
    change = make_row_reader(table()).insert(row("N", 7, None, None), 0)

    assert change.record == b'{"id":7,"title":null,"done":null}'
    assert change.values == (b"7", None, None)


@pytest.mark.parametrize(
    ("values", "record"),
    [
        ((7, TOAST, "t"), b'{"id":7,"done":true}'),
        ((TOAST, "a", "t"), b'{"title":"a","done":true}'),
        ((7, None, TOAST), b'{"id":7,"title":null}'),
        ((TOAST, TOAST, TOAST), b"{}"),
    ],
)
def test_an_insert_leaves_out_unchanged_toast(values, record):
    change = make_row_reader(table()).insert(row("N", *values), 0)

    assert change.record == record
    assert [value is ABSENT for value in change.values] == [value is TOAST for value in values]


def test_an_update_that_keeps_the_key_takes_it_from_the_new_row():
    change = make_row_reader(table()).update(row("N", 7, "b", "t"), 0)

    assert change.kind is Kind.UPDATE
    assert change.record == b'{"id":7,"title":"b","done":true}'
    assert change.old_record == b'{"id":7}'
    assert change.values == (b"7", b"b", b"t")
    assert change.old_values == (b"7", ABSENT, ABSENT)


def test_an_update_of_the_key_has_the_old_key():
    change = make_row_reader(table()).update(row("K", 6, None, None) + row("N", 7, None, "t"), 0)

    assert change.record == b'{"id":7,"title":null,"done":true}'
    assert change.old_record == b'{"id":6}'
    assert change.old_values == (b"6", ABSENT, ABSENT)


def test_a_key_of_several_columns_keeps_their_order():
    reader = make_row_reader(table(ReplicaIdentity.INDEX, keys=("id", "done")))

    change = reader.update(row("K", 6, None, "f") + row("N", 7, "b", "t"), 0)

    assert change.old_record == b'{"id":6,"done":false}'
    assert change.old_values == (b"6", ABSENT, b"f")


def test_under_full_the_old_row_is_whole_and_its_nulls_are_nulls():
    change = make_row_reader(table(**FULL)).update(row("O", 7, None, "f") + row("N", 7, "b", "t"), 0)

    assert change.record == b'{"id":7,"title":"b","done":true}'
    assert change.old_record == b'{"id":7,"title":null,"done":false}'
    assert change.old_values == (b"7", None, b"f")


def test_under_full_unchanged_toast_comes_from_the_old_row():
    change = make_row_reader(table(**FULL)).update(row("O", 7, "big", "f") + row("N", 7, TOAST, "t"), 0)

    assert change.record == b'{"id":7,"title":"big","done":true}'
    assert change.values == (b"7", b"big", b"t")


def test_a_toasted_key_column_comes_from_the_key_tuple():
    reader = make_row_reader(table(keys=("title",), primary_key=(1,)))

    change = reader.update(row("K", None, "big", None) + row("N", 8, TOAST, "t"), 0)

    assert change.record == b'{"id":8,"title":"big","done":true}'
    assert change.old_record == b'{"title":"big"}'
    assert change.old_values == (ABSENT, b"big", ABSENT)


def test_unchanged_toast_outside_the_identity_is_left_out():
    change = make_row_reader(table()).update(row("K", 6, None, None) + row("N", 7, TOAST, "t"), 0)

    assert change.record == b'{"id":7,"done":true}'
    assert change.values == (b"7", ABSENT, b"t")


def test_unchanged_toast_is_taken_from_a_key_tuple_that_is_fuller_than_the_identity():
    # A partition with FULL below a root with the default identity: K has every column.
    change = make_row_reader(table()).update(row("K", 7, "big", "f") + row("N", 7, TOAST, "t"), 0)

    assert change.record == b'{"id":7,"title":"big","done":true}'
    assert change.old_record == b'{"id":7}'
    assert change.old_values == (b"7", ABSENT, ABSENT)


def test_a_toasted_key_without_key_tuple_is_left_out():
    change = make_row_reader(table(keys=("title",))).update(row("N", 7, TOAST, "t"), 0)

    assert (change.record, change.old_record) == (b'{"id":7,"done":true}', b"{}")
    assert change.old_values == (ABSENT, ABSENT, ABSENT)


def test_under_full_without_an_old_row_only_the_primary_key_is_known():
    # A partition with the default identity below a root with FULL.
    change = make_row_reader(table(**FULL)).update(row("N", 7, "b", "t"), 0)

    assert change.old_record == b'{"id":7}'
    assert change.old_values == (b"7", ABSENT, ABSENT)


def test_under_full_with_a_partition_that_covers_less_only_what_is_flagged_is_known():
    # The root has FULL, a partition's identity is an index on the title: so only the title is flagged.
    reader = make_row_reader(table(ReplicaIdentity.FULL, keys=("title",)))

    same = reader.update(row("N", 7, "b", "t"), 0)
    changed = reader.update(row("O", None, "a", None) + row("N", 7, "b", TOAST), 0)
    deleted = reader.delete(row("O", None, "b", None), 0)

    assert [change.old_record for change in (same, changed, deleted)] == [
        b'{"title":"b"}', b'{"title":"a"}', b'{"title":"b"}',
    ]  # fmt: skip
    assert changed.old_values == (ABSENT, b"a", ABSENT)
    assert changed.record == b'{"id":7,"title":"b"}'


def test_without_identity_nothing_is_known_of_the_old_row():
    change = make_row_reader(table(ReplicaIdentity.NOTHING, keys=())).update(row("N", 7, "b", "t"), 0)

    assert change.old_record == b"{}"
    assert change.old_values == (ABSENT, ABSENT, ABSENT)


def test_a_delete_has_the_key():
    change = make_row_reader(table()).delete(row("K", 7, None, None), 0)

    assert change.kind is Kind.DELETE
    assert (change.record, change.values) == (None, None)
    assert change.old_record == b'{"id":7}'
    assert change.old_values == (b"7", ABSENT, ABSENT)


def test_under_full_a_delete_has_the_whole_row():
    change = make_row_reader(table(**FULL)).delete(row("O", 7, None, "f"), 0)

    assert change.old_record == b'{"id":7,"title":null,"done":false}'
    assert change.old_values == (b"7", None, b"f")


def test_under_row_security_a_delete_has_no_more_than_the_primary_key():
    change = make_row_reader(table(**FULL, has_row_security=True)).delete(row("O", 7, "secret", "f"), 0)

    assert change.old_record == b'{"id":7}'
    assert change.old_values == (b"7", ABSENT, ABSENT)


def test_under_row_security_a_primary_key_outside_the_identity_is_not_known():
    reader = make_row_reader(table(ReplicaIdentity.INDEX, keys=("title",), has_row_security=True))

    change = reader.delete(row("K", None, "secret", None), 0)

    assert change.old_record == b"{}"
    assert change.old_values == (ABSENT, ABSENT, ABSENT)


def test_under_row_security_an_update_is_not_reduced():
    change = make_row_reader(table(**FULL, has_row_security=True)).update(
        row("O", 7, "a", "f") + row("N", 7, "b", "t"), 0
    )

    assert change.old_record == b'{"id":7,"title":"a","done":false}'


def test_a_truncate_has_no_rows():
    made = table()

    change = make_row_reader(made).truncate()

    assert (change.table, change.kind) == (made, Kind.TRUNCATE)
    assert (change.record, change.old_record, change.values, change.old_values) == (None, None, None, None)


def test_a_table_without_columns_has_empty_rows():
    bare = Table(Relation(1, "public", "bare", ReplicaIdentity.FULL, ()), ())

    assert make_row_reader(bare).insert(row("N"), 0).record == b"{}"
    assert make_row_reader(bare).update(row("O") + row("N"), 0).old_record == b"{}"


def test_names_are_escaped():
    columns = (Column('na%me "q"', INT8, -1, is_key=True),)
    odd = Table(Relation(1, "public", "odd", ReplicaIdentity.DEFAULT, columns), (builtin_shape(INT8),), (0,))

    change = make_row_reader(odd).update(row("N", 7), 0)

    assert change.record == change.old_record == b'{"na%me \\"q\\"":7}'


@pytest.mark.parametrize(
    ("method", "data", "complaint"),
    [
        ("insert", row("O", 7, "a", "t"), "an insert without a new tuple"),
        ("insert", row("N", 7, "a"), "another number of columns than was announced"),
        ("insert", row("N", 7, "a", "t", None), "another number of columns than was announced"),
        ("insert", row("N", 7, "a", "t") + b"\0", "an insert that is too long or too short"),
        ("insert", row("N", 7, None, "t").replace(b"n", b"b"), "a value of the unknown kind 98"),
        ("update", row("K", 7, "a", "t") + row("K", 7, "a", "t"), "an update without a new tuple"),
        ("update", row("N", 7, "a", "t") + b"\0", "an update that is too long or too short"),
        ("delete", row("N", 7, "a", "t"), "a delete without an old or key tuple"),
        ("delete", row("K", 7, None, None) + b"\0", "a delete that is too long or too short"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(method, data, complaint):
    read = getattr(make_row_reader(table()), method)

    with pytest.raises(ReplicationWireError, match=f"public.todos: .*{complaint}"):
        read(data, 0)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("insert", row("N", 7, "milk", "t")),
        ("update", row("K", 6, None, None) + row("N", 7, "milk", None)),
        ("delete", row("K", 7, None, None)),
    ],
)
def test_a_row_cut_short_is_refused_wherever_it_is_cut(method, data):
    read = getattr(make_row_reader(table()), method)
    for size in range(len(data)):
        with pytest.raises((ReplicationWireError, LookupError, struct.error)):
            read(data[:size], 0)
