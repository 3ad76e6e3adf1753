"""A table's row function, unrolled: the loop of `rows` written out column by column, for the rows that are most.

Most messages are inserts, and updates whose key stays the same; most values are sent. For those a function is made per
table, without a loop and without a list: benchmarks/decode.py shows it at 0.7 times the loop's time. Every other row
(unchanged TOAST, an old tuple, malformed bytes) is handed to the loop, which knows all cases and words all complaints.

The text that is compiled is made of numbers alone; names, types and values of a table are constants beside it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import orjson

from pgcast.changes.values import inline_expression, renderer
from pgcast.model.change import ABSENT, Change, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pgcast.model.relation import Table

    RowFunction = Callable[[bytes, int], Change]

MAX_COLUMNS: Final = 64
"""Wider tables gain little: their time goes into the values."""

# kind: 1 | size: 4, text   - for a value that was sent
_COLUMN: Final = """
        kind = data[at]
        if kind == 116:
            begin = at + 5
            at = begin + read_size(data, at + 1)[0]
            v{0} = data[begin:at]
            j{0} = {1}
        elif kind == 110:
            at += 1
            v{0} = None
            j{0} = b"null"
        else:
            return otherwise(data, start)
"""

_FUNCTION: Final = """
def read(data, start):
    try:
        at = start + 3
        if data[start:at] != head:
            return otherwise(data, start)
{columns}
        if at != len(data):
            return otherwise(data, start)
        return Change(table, kind_of_change, record % ({json}), {old_record}, ({values}), {old_values})
    except UnicodeDecodeError:
        return otherwise(data, start)
"""


def unroll_insert(table: Table, otherwise: RowFunction) -> RowFunction:
    """Return what reads `N`, tuple of an Insert."""
    return _compile(table, Kind.INSERT, otherwise, old_record="None", old_values="None")


def unroll_update(table: Table, known: Collection[int], otherwise: RowFunction) -> RowFunction:
    """Return what reads `N`, tuple of an Update that comes without an old tuple.

    Args:
        table: The table.
        known: The numbers of the columns that make the old record: they have not changed.
        otherwise: What reads all other rows.
    """
    old_values = "".join(f"v{number}, " if number in known else "ABSENT, " for number in range(len(table.types)))
    old_json = "".join(f"j{number}, " for number in known)
    return _compile(
        table,
        Kind.UPDATE,
        otherwise,
        old_record=f"old_record % ({old_json})",
        old_values=f"({old_values})",
        known=known,
    )


def _compile(
    table: Table, kind: Kind, otherwise: RowFunction, *, old_record: str, old_values: str, known: Collection[int] = ()
) -> RowFunction:
    numbers = range(len(table.types))
    constants: dict[str, Any] = {
        "ABSENT": ABSENT,
        "Change": Change,
        "dumps": orjson.dumps,
        "head": b"N" + len(table.types).to_bytes(2),
        "kind_of_change": kind,
        "old_record": _template(table, known),
        "otherwise": otherwise,
        "read_size": struct.Struct(">I").unpack_from,
        "record": _template(table, numbers),
        "table": table,
    }
    columns: list[str] = []
    for number, shape in enumerate(table.types):
        render = renderer(shape)
        constants[f"render{number}"] = render
        columns.append(_COLUMN.format(number, inline_expression(render, f"v{number}") or f"render{number}(v{number})"))
    text = _FUNCTION.format(
        columns="".join(columns),
        json="".join(f"j{number}, " for number in numbers),
        values="".join(f"v{number}, " for number in numbers),
        old_record=old_record,
        old_values=old_values,
    )
    exec(compile(text, "<unrolled>", "exec"), constants)  # noqa: S102 - made of numbers alone, see above
    function: RowFunction = constants["read"]
    return function


def _template(table: Table, numbers: Collection[int]) -> bytes:
    """Return the row's JSON object with `%b` for each value."""
    columns = table.relation.columns
    names = [orjson.dumps(columns[number].name).replace(b"%", b"%%") for number in numbers]
    return b"{%b}" % b",".join(name + b":%b" for name in names)
