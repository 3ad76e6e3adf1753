"""The `postgres_changes` entries of a join to bindings, and to the echo that the join's reply carries.

The echo is what clients compare position by position with what they sent: the object as sent, plus `id`. The bindings
have the protocol's defaults filled in, and equal entries are one binding. Filters, and whether a schema, table or
column exists, are not judged here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.frames.reading import NULL, read, read_object
from pgcast.model.binding import Binding
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError, FrameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

MAX_ID: Final = 2**31 - 1

_EVENTS: Final = {kind.value: kind for kind in (Kind.INSERT, Kind.UPDATE, Kind.DELETE)}
_MAX_SHOWN: Final = 200

_TEXT: Final = msgspec.json.Decoder(str)
_TEXTS: Final = msgspec.json.Decoder(list[msgspec.Raw])

_NO_PARAMS: Final = "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: {}"
_SELECT_NO_LIST: Final = (
    'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
)
_SELECT_WILDCARD: Final = (
    "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
)


@dataclass(frozen=True, slots=True)
class Entries:
    """What the entries of one join come to.

    Attributes:
        bindings: One for each different entry, in the order of their first appearance; empty where `error` is set,
            because one bad entry fails them all.
        echo: For each entry, in order, the JSON object that the reply carries; complete also where `error` is set.
        error: What is wrong with the first bad entry, in the words that clients know; else None.
    """

    bindings: tuple[Binding, ...] = ()
    echo: tuple[bytes, ...] = ()
    error: str | None = None


def read_entries(entries: Iterable[msgspec.Raw]) -> Entries:
    """Read the entries of one join; those that are no objects are dropped."""
    objects = []
    for entry in entries:
        try:
            objects.append(read_object(entry))
        except FrameError:
            continue
    ids: dict[Binding, int] = {}
    taken: set[int] = set()
    echo = []
    error = None
    for number, members in enumerate(objects, start=1):
        binding = _binding(members)
        try:
            _check(binding, members)
        except BindingError as wrong:
            which = f" (entry {number} of {len(objects)})" if len(objects) > 1 else ""
            error = error or wrong.message + which
        if binding not in ids:
            ids[binding] = _free_id(binding, taken)
            taken.add(ids[binding])
        echo.append(_echo(members, ids[binding]))
    bindings = () if error else tuple(replace(binding, id=number) for binding, number in ids.items())
    return Entries(bindings, tuple(echo), error)


def _binding(members: Mapping[str, msgspec.Raw]) -> Binding:
    """Fill in the defaults. The id stays 0, so that equal entries give equal bindings."""
    schema = _text(members.get("schema"))
    table = _text(members.get("table"))
    if schema is None and table is not None:
        schema = "public"
    return Binding(
        id=0,
        event=_EVENTS.get((_text(members.get("event")) or "*").upper()),
        schema=None if schema == "*" else schema,
        table=None if table == "*" else table,
        filter=_unless_blank(_text(members.get("filter"))),
        select=_columns(members.get("select")),
        since=_unless_blank(_text(members.get("since"))),
        leave=_text(members.get("leave")) == "true",
    )


def _check(binding: Binding, members: Mapping[str, msgspec.Raw]) -> None:
    """Raise the first error in the structure of an entry, in the order in which the original server finds them."""
    if _text(members.get("schema")) is None and _text(members.get("table")) is None:
        raise BindingError(_NO_PARAMS.format(_shown(members)))
    if not _is_list_or_absent(members.get("select")):
        raise BindingError(_SELECT_NO_LIST)
    if binding.select and (binding.schema is None or binding.table is None):
        raise BindingError(_SELECT_WILDCARD)


def _free_id(binding: Binding, taken: AbstractSet[int]) -> int:
    """Return an id that survives reconnects: a hash of what is asked for, or the next number that is free.

    `since` is left out of the hash: it is another one at each reconnect.
    """
    event = binding.event.value if binding.event else None
    more = (True,) if binding.leave else ()
    asked = msgspec.json.encode((event, binding.schema, binding.table, binding.filter, binding.select, *more))
    number = zlib.crc32(asked) % MAX_ID + 1
    while number in taken:
        number = number % MAX_ID + 1
    return number


def _echo(members: Mapping[str, msgspec.Raw], number: int) -> bytes:
    """Return the client's object in its own order, its values byte for byte, and the id."""
    return msgspec.json.encode({**members, "id": number})


def _text(value: msgspec.Raw | None) -> str | None:
    """Return a text; None where absent or null. Any other value gives its JSON text.

    So a filter or a name of the wrong type is refused where it is looked at, and never counts as "all".
    """
    if value is None or bytes(value) == NULL:
        return None
    try:
        return read(_TEXT, value)
    except FrameError:
        return bytes(value).decode()


def _unless_blank(text: str | None) -> str | None:
    return text if text is not None and text.strip() else None


def _columns(value: msgspec.Raw | None) -> tuple[str, ...]:
    """Return the texts of a list, other elements left out; empty for what is no list."""
    if value is None:
        return ()
    try:
        elements = read(_TEXTS, value)
    except FrameError:
        return ()
    return tuple(read(_TEXT, element) for element in elements if bytes(element).startswith(b'"'))


def _is_list_or_absent(value: msgspec.Raw | None) -> bool:
    return value is None or bytes(value) == NULL or bytes(value).startswith(b"[")


def _shown(members: Mapping[str, msgspec.Raw]) -> str:
    text = msgspec.json.encode(members).decode()
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
