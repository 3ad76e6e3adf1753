"""From a tuple's bytes to a change: the row as a JSON object, and its values for matching, in one pass.

A tuple gives for each column of its relation a kind (text, NULL, unchanged TOAST) and the text. What is known of the
old row follows from the replica identity: the columns that the relation flags.

Source: PostgreSQL, chapters "Logical Replication Message Formats" (TupleData) and "Logical Replication" (Publication,
replica identity).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import orjson

from pgcast.changes.unrolled import MAX_COLUMNS, unroll_insert, unroll_update
from pgcast.changes.values import renderer, verbatim
from pgcast.model.change import ABSENT, Change, Kind
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import ReplicaIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgcast.changes.unrolled import RowFunction
    from pgcast.changes.values import Renderer
    from pgcast.model.change import Absent, Values
    from pgcast.model.relation import Table

_NEW: Final = ord("N")
_KEY_OR_OLD: Final = (ord("K"), ord("O"))

_TEXT: Final = ord("t")
_NULL: Final = ord("n")
_UNCHANGED: Final = ord("u")

_read_size: Callable[[bytes, int], tuple[int]] = struct.Struct(">I").unpack_from


def make_row_reader(table: Table) -> TableReader:
    """Return what makes changes of the tuples of a table's relation."""
    return TableReader(table)


class TableReader:
    """Makes changes of one table's tuples. Keeps no state between two rows.

    `data` is the whole message, `at` the place behind the relation's OID. Bytes that do not fit raise
    ReplicationWireError, or an IndexError, KeyError or struct.error that the decoder turns into one.

    What a change carries:

    - `record` has every column that was sent: an unchanged TOAST value is taken from the old tuple if that has it, and
      left out if not (ABSENT in `values`).
    - `old_record` and `old_values` have the identity's columns, from the old or key tuple; an UPDATE that comes without
      one did not change them, so they are taken from the new tuple. Where all columns are flagged (FULL) that happens
      only to a partition whose own identity was another one then: so only the primary key is known.
    - A DELETE on a table with row level security has the primary key's columns and no others, in both.
    """

    __slots__ = (
        "_columns",
        "_count",
        "_deleted",
        "_identity",
        "_names",
        "_same",
        "_skeleton",
        "_table",
        "insert",
        "update",
    )

    def __init__(self, table: Table) -> None:
        columns = table.relation.columns
        self._table = table
        self._count = len(columns).to_bytes(2)
        self._names = [orjson.dumps(column.name) + b":" for column in columns]
        self._skeleton = _skeleton(self._names)
        self._columns: list[tuple[int, Renderer | None]] = [
            (2 * number + 1, None if render is verbatim else render)
            for number, render in enumerate(map(renderer, table.types))
        ]
        self._identity = [number for number, column in enumerate(columns) if column.is_key]
        is_full = table.relation.identity is ReplicaIdentity.FULL and len(self._identity) == len(columns)
        self._same = list(table.primary_key) if is_full else self._identity
        in_key = table.primary_key if table.has_row_security else range(len(columns))
        self._deleted = [number for number in self._identity if number in in_key]
        self.insert: RowFunction = self._insert
        self.update: RowFunction = self._update
        if 0 < len(columns) <= MAX_COLUMNS:
            self.insert = unroll_insert(table, self._insert)
            self.update = unroll_update(table, self._same, self._update)

    def _insert(self, data: bytes, at: int) -> Change:
        """Read `N`, tuple."""
        if data[at] != _NEW:
            raise self._complaint("an insert without a new tuple")
        values, pieces, unchanged, at = self._read_tuple(data, at + 1)
        if at != len(data):
            raise self._complaint("an insert that is too long or too short")
        record = self._object(pieces, values, range(len(values))) if unchanged else b"".join(pieces)
        return Change(self._table, Kind.INSERT, record, None, tuple(values), None)

    def _update(self, data: bytes, at: int) -> Change:
        """Read `K` or `O` and a tuple, which may both be missing, then `N`, tuple."""
        old_values: list[bytes | Absent | None] | None = None
        if data[at] in _KEY_OR_OLD:
            old_values, old_pieces, _, at = self._read_tuple(data, at + 1)
        if data[at] != _NEW:
            raise self._complaint("an update without a new tuple")
        values, pieces, unchanged, at = self._read_tuple(data, at + 1)
        if at != len(data):
            raise self._complaint("an update that is too long or too short")
        if old_values is None:
            known, old_values, old_pieces = self._same, values, pieces
        else:
            known = self._identity
            for number in unchanged:
                # A key tuple has NULL where it has nothing to say.
                if old_values[number] is not None or number in known:
                    values[number] = old_values[number]
                    pieces[2 * number + 1] = old_pieces[2 * number + 1]
        return Change(
            self._table,
            Kind.UPDATE,
            self._object(pieces, values, range(len(values))) if unchanged else b"".join(pieces),
            self._object(old_pieces, old_values, known),
            tuple(values),
            _only(old_values, known),
        )

    def delete(self, data: bytes, at: int) -> Change:
        """Read `K` or `O`, tuple."""
        if data[at] not in _KEY_OR_OLD:
            raise self._complaint("a delete without an old or key tuple")
        values, pieces, _, at = self._read_tuple(data, at + 1)
        if at != len(data):
            raise self._complaint("a delete that is too long or too short")
        known = self._deleted
        return Change(self._table, Kind.DELETE, None, self._object(pieces, values, known), None, _only(values, known))

    def truncate(self) -> Change:
        """Make the change of a Truncate that names this relation."""
        return Change(self._table, Kind.TRUNCATE, None, None, None, None)

    def _read_tuple(
        self, data: bytes, at: int
    ) -> tuple[list[bytes | Absent | None], list[bytes], tuple[int, ...], int]:
        """Read one tuple.

        Returns:
            The values; the record in pieces; the numbers of the columns whose TOAST value is unchanged, which the
            pieces have as null; and the place behind the tuple, which may lie behind the end of `data`.
        """
        # number of columns: 2 | per column: kind: 1 | if it is text, size: 4, text
        # fast path: per value (benchmarks/decode.py), where the unrolled function (unrolled.py) hands a row over
        if data[at : at + 2] != self._count:
            raise self._complaint("a tuple that has another number of columns than was announced")
        at += 2
        values: list[bytes | Absent | None] = []
        pieces = self._skeleton.copy()
        unchanged: tuple[int, ...] = ()
        for place, render in self._columns:
            kind = data[at]
            if kind == _TEXT:
                begin = at + 5
                at = begin + _read_size(data, at + 1)[0]
                text = data[begin:at]
                values.append(text)
                pieces[place] = text if render is None else render(text)
            else:
                at += 1
                if kind == _NULL:
                    values.append(None)
                elif kind == _UNCHANGED:
                    unchanged += (len(values),)
                    values.append(ABSENT)
                else:
                    raise self._complaint(f"a value of the unknown kind {kind}")
        return values, pieces, unchanged, at

    def _object(
        self, pieces: Sequence[bytes], values: Sequence[bytes | Absent | None], numbers: Sequence[int]
    ) -> bytes:
        """Return the object of some columns, without those that are ABSENT."""
        names = self._names
        return b"{%b}" % b",".join(
            [names[number] + pieces[2 * number + 1] for number in numbers if values[number] is not ABSENT]
        )

    def _complaint(self, found: str) -> ReplicationWireError:
        return ReplicationWireError(f"{self._table.schema}.{self._table.name}: {found}")


def _skeleton(names: list[bytes]) -> list[bytes]:
    """Return a row's object in pieces, each value null at an odd place: `{"a":` `null` `,"b":` `null` `}`."""
    if not names:
        return [b"{}"]
    pieces: list[bytes] = []
    for name in names:
        pieces += [(b"," if pieces else b"{") + name, b"null"]
    return [*pieces, b"}"]


def _only(values: Sequence[bytes | Absent | None], numbers: Sequence[int]) -> Values:
    """Return the values of some columns, the others ABSENT."""
    known: list[bytes | Absent | None] = [ABSENT] * len(values)
    for number in numbers:
        known[number] = values[number]
    return tuple(known)
