"""How long one row takes from pgoutput bytes to a change with its JSON, and from there to a payload.

Run: `python benchmarks/decode.py`. Prints microseconds per row, the best of several rounds: what the code costs when
nothing else takes the processor.
"""

from __future__ import annotations

import struct
import timeit
from functools import partial
from typing import TYPE_CHECKING

from pgcast.changes.oids import builtin_shape
from pgcast.changes.payload import Payloads
from pgcast.changes.rows import make_row_reader
from pgcast.model.change import Change, Transaction
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table
from pgcast.wal.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable

INT8, TEXT, NUMERIC, BOOL, TIMESTAMPTZ, TEXTS = 20, 25, 1700, 16, 1184, 1009

VALUES = {
    INT8: b"123456789",
    TEXT: b"hello world foo bar",
    NUMERIC: b"1234.50",
    BOOL: b"t",
    TIMESTAMPTZ: b"2026-01-02 03:04:05.678912+00",
    TEXTS: b'{milk,"brown bread",eggs}',
}

FIVE = [INT8, TEXT, NUMERIC, BOOL, TIMESTAMPTZ]
THIRTY = [INT8, *[TEXT, INT8, TEXT, NUMERIC, TEXT, BOOL, TIMESTAMPTZ, TEXT] * 4][:30]
ARRAYS = [INT8, TEXTS, TEXTS, TEXTS, TEXTS]

TRANSACTION = Transaction(1, Lsn(2), 3, b"2026-01-02T03:04:05.678Z", b"5f0c2a9e-000000000a3b4c58-")


def table_of(types: list[int]) -> Table:
    columns = tuple(Column(f"column_{number}", oid, -1, number == 0) for number, oid in enumerate(types))
    relation = Relation(16400, "public", "measured", ReplicaIdentity.DEFAULT, columns)
    shapes = tuple(shape for shape in map(builtin_shape, types) if shape is not None)
    return Table(relation, shapes, (0,))


def message_of(types: list[int], tag: bytes) -> bytes:
    message = [tag, struct.pack(">IcH", 16400, b"K" if tag == b"D" else b"N", len(types))]
    for number, oid in enumerate(types):
        if tag == b"D" and number:
            message.append(b"n")
        else:
            message += (b"t", struct.pack(">I", len(VALUES[oid])), VALUES[oid])
    return b"".join(message)


def microseconds(task: Callable[[], object], *, number: int = 20_000) -> float:
    return min(timeit.repeat(task, number=number, repeat=9)) / number * 1e6


def main() -> None:
    payloads = Payloads()
    print(f"{'':24}{'insert':>8}{'update':>8}{'delete':>8}{'payload':>9}  us")
    for title, types in (("5 columns", FIVE), ("30 columns", THIRTY), ("4 arrays of 3 texts", ARRAYS)):
        decoder = Decoder()
        decoder.readers[16400] = make_row_reader(table_of(types))
        row = f"{title:24}"
        for tag in (b"I", b"U", b"D"):
            message = message_of(types, tag)
            row += f"{microseconds(partial(decoder.decode, message)):8.2f}"
        change = decoder.decode(message_of(types, b"U"))
        assert isinstance(change, Change)
        change.transaction, change.index = TRANSACTION, 0
        print(row + f"{microseconds(partial(payloads.current, change)):9.2f}")


if __name__ == "__main__":
    main()
