"""The unrolled functions give what the loop gives, for every row, and hand on what they do not know."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcast.changes.oids import builtin_shape
from pgcast.changes.rows import TableReader
from pgcast.changes.unrolled import MAX_COLUMNS, unroll_insert, unroll_update
from pgcast.model.change import Change
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table

OIDS = {"int8": 20, "text": 25, "bool": 16, "numeric": 1700, "timestamptz": 1184, "text[]": 1009}
ODD_NAMES = ('quote"', "per%cent", "{brace}", "back\\slash", "ümlaut", "")


def table_of(*oids: int, names: tuple[str, ...] = ()) -> Table:
    columns = tuple(
        Column(names[number] if number < len(names) else f"c{number}", oid, -1, number == 0)
        for number, oid in enumerate(oids)
    )
    shapes = tuple(shape for oid in oids if (shape := builtin_shape(oid)) is not None)
    return Table(Relation(1, "public", "t", ReplicaIdentity.DEFAULT, columns), shapes, (0,))


def row(*values: bytes | None) -> bytes:
    parts = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in values]
    return b"N" + struct.pack(">H", len(values)) + b"".join(parts)


def shown(change: Change) -> tuple[object, ...]:
    return change.kind, change.record, change.old_record, change.values, change.old_values


TEXTS = {
    OIDS["int8"]: st.integers(-(2**63), 2**63 - 1).map(lambda number: str(number).encode()),
    OIDS["text"]: st.text().map(str.encode) | st.binary(),
    OIDS["bool"]: st.sampled_from([b"t", b"f"]),
    OIDS["numeric"]: st.sampled_from([b"0", b"-1.50", b"NaN", b"Infinity"]),
    OIDS["timestamptz"]: st.sampled_from([b"2026-01-02 03:04:05+00", b"infinity", b"0044-03-15 00:00:00+00 BC"]),
    OIDS["text[]"]: st.sampled_from([b"{}", b'{a,"b c",NULL}', b"{{1},{2}}"]),
}


@given(st.data(), st.lists(st.sampled_from(list(OIDS.values())), min_size=1, max_size=6))
def test_an_unrolled_function_equals_the_loop(data: st.DataObject, oids: list[int]):
    loop = TableReader(table_of(*oids, names=ODD_NAMES))
    message = row(*(data.draw(st.none() | TEXTS[oid]) for oid in oids))
    assert shown(loop.insert(message, 0)) == shown(loop._insert(message, 0))
    assert shown(loop.update(message, 0)) == shown(loop._update(message, 0))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"N",
        row(b"1", b"a")[:-1],
        row(b"1", b"a") + b"x",
        row(b"1"),
        row(b"1", b"a", b"b"),
        b"N\x00\x02" + b"t\x00\x00\x00\x011" + b"u",
        b"N\x00\x02" + b"t\x00\x00\x00\x011" + b"?",
        b"K" + row(b"1", None)[1:] + row(b"2", b"a"),
    ],
)
def test_what_it_does_not_know_is_handed_on_as_it_came(message: bytes):
    handed: list[tuple[bytes, int]] = []
    answer = object()

    def otherwise(data: bytes, at: int) -> object:
        handed.append((data, at))
        return answer

    table = table_of(OIDS["int8"], OIDS["text"])
    for read in (unroll_insert(table, otherwise), unroll_update(table, (0,), otherwise)):  # type: ignore[arg-type]
        try:
            found = read(message, 0)
        except (IndexError, struct.error):
            continue  # the decoder turns it into its own error, as it does with the loop's
        assert found is answer
        assert handed.pop() == (message, 0)


def test_malformed_bytes_are_worded_by_the_loop():
    reader = TableReader(table_of(OIDS["int8"], OIDS["text"]))
    with pytest.raises(ReplicationWireError, match=r"public\.t: .*unknown kind 63"):
        reader.insert(b"N\x00\x02" + b"t\x00\x00\x00\x011" + b"?", 0)


@pytest.mark.parametrize("count", [MAX_COLUMNS, MAX_COLUMNS + 1])
def test_wide_tables_are_read_alike_whoever_reads_them(count: int):
    reader = TableReader(table_of(*[OIDS["int8"]] * count))
    change = reader.insert(row(*[b"7"] * count), 0)
    assert change.record == b"{" + b",".join(b'"c%d":7' % number for number in range(count)) + b"}"
    is_unrolled = reader.insert != reader._insert
    assert is_unrolled == (count <= MAX_COLUMNS)
