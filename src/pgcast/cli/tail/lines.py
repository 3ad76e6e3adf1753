"""One change to one line for people: when, what, where, and of an update what has become of each column.

    08:31:04.123Z  INSERT  public.orders  id=1013 dish="Ramen" total=14.90
    08:31:05.001Z  UPDATE  public.orders  id=1013 status: "placed" -> "cooking"
    08:31:09.440Z  DELETE  public.orders  id=1001 dish="Margherita" total=11.50

Values are the JSON of the message, shortened; nothing in them can reach the terminal as a control character.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pgcast.cli.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST: Final = 60

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_COLORS: Final = {"INSERT": "\x1b[32m", "UPDATE": "\x1b[33m", "DELETE": "\x1b[31m"}


class _Change(msgspec.Struct):
    """The `data` of a message; the values as they are written."""

    schema: str
    table: str
    type: str
    commit_timestamp: str
    record: dict[str, msgspec.Raw] = {}
    old_record: dict[str, msgspec.Raw] = {}


_CHANGE: Final = msgspec.json.Decoder(_Change)


def line_of(data: bytes, *, is_colored: bool) -> str:
    """Return the line of a change, without a line break.

    Args:
        data: The `data` object of a `postgres_changes` message.
        is_colored: Use a terminal's colours.
    """
    change = _CHANGE.decode(data)
    clock = change.commit_timestamp.partition("T")[2]
    where = printable(f"{change.schema}.{change.table}")
    words = " ".join(_words(change))
    if not is_colored:
        return f"{clock}  {change.type}  {where}  {words}"
    return f"{_DIM}{clock}{_RESET}  {_COLORS[change.type]}{change.type}{_RESET}  {_BOLD}{where}{_RESET}  {words}"


def _words(change: _Change) -> Iterator[str]:
    if change.type != "UPDATE":
        yield from (_word(name, raw) for name, raw in (change.record or change.old_record).items())
        return
    new, old = change.record, change.old_record
    # Where the identity is not FULL, the old row is its key alone, and what has changed is not known.
    key = old if len(old) < len(new) else [next((name for name in new if name == "id"), next(iter(new), ""))]
    yield from (_word(name, new[name]) for name in key if name in new and old.get(name) == new[name])
    for name, raw in new.items():
        if name not in old:
            yield _word(name, raw)
        elif old[name] != raw:
            yield f"{printable(name)}: {_shown(old[name])} -> {_shown(raw)}"


def _word(name: str, raw: Any) -> str:
    return f"{printable(name)}={_shown(raw)}"


def _shown(raw: Any) -> str:
    return printable(bytes(raw).decode(), longest=_LONGEST)
