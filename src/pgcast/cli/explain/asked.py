"""What the command is told, read and checked: a binding or a topic, and a row or a place in the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.channels.postgres_changes import read_entries
from pgcast.cli.tail.wishes import table_of
from pgcast.engine.joins import parse_since
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError, SettingsError
from pgcast.postgres.past import Wanted

if TYPE_CHECKING:
    from pgcast.model.binding import Binding

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BINDING_HINT: Final = (
    """write an entry of postgres_changes, '{"schema":"public","table":"todos","filter":"id=gt.5"}',"""
    " or a topic of the oldest protocol, public:todos:id=eq.5"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A row that was given.

    Attributes:
        option: The option that gave it.
        text: A JSON object.
        columns: Its keys.
    """

    option: str
    text: bytes
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be explained.

    Attributes:
        binding: What the client asks for; None for a topic, and for what could not be one.
        topic: A topic of the oldest protocol, without `realtime:`; None for a binding.
        refusal: Why the binding would be refused at once; None where it would not.
        place: The schema and table of the row; None where the topic says.
        kind: What happened to the row.
        new: The new row.
        old: The old one.
        wanted: The changes of the past that are meant; None for a row.
        role: As whom.
    """

    binding: Binding | None = None
    topic: str | None = None
    refusal: str | None = None
    place: tuple[str, str] | None = None
    kind: Kind = Kind.INSERT
    new: Row | None = None
    old: Row | None = None
    wanted: Wanted | None = None
    role: str | None = None


def read_asked(
    binding: str,
    *,
    row: str | None = None,
    old: str | None = None,
    event: Kind | None = None,
    table: str | None = None,
    position: str | None = None,
    role: str | None = None,
) -> Asked:
    """Read the command's arguments.

    Raises:
        SettingsError: One of them cannot be read, or they do not fit together; the message says what would.
    """
    found, topic, refusal = _read_binding(binding)
    if position is not None:
        if row is not None or old is not None or event is not None or table is not None:
            raise SettingsError(
                "--position: the change is found in the WAL, with its rows, event and table",
                hint="leave out --row, --old, --event and --table",
            )
        return Asked(found, topic, refusal, wanted=_read_position(position), role=role)
    kind = event or (Kind.INSERT if old is None else Kind.UPDATE if row is not None else Kind.DELETE)
    new_row, old_row = _read_row("--row", row), _read_row("--old", old)
    _check_rows(kind, new_row, old_row)
    return Asked(found, topic, refusal, _place_of(found, topic, table), kind, new_row, old_row, role=role)


def _read_binding(text: str) -> tuple[Binding | None, str | None, str | None]:
    """Return the binding, or the topic, and why the binding would be refused."""
    text = text.strip()
    if not text.startswith("{"):
        topic = text.removeprefix("realtime:")
        if not topic or text[0] in '["':
            raise SettingsError(f"BINDING: neither a JSON object nor a topic (found {text[:80]!r})", hint=_BINDING_HINT)
        return None, topic, None
    _decode("BINDING", text)
    entries = read_entries([msgspec.Raw(text.encode())])
    return (entries.bindings[0], None, None) if entries.error is None else (None, None, entries.error)


def _read_row(option: str, text: str | None) -> Row | None:
    if text is None:
        return None
    return Row(option, text.encode(), frozenset(_decode(option, text)))


def _decode(option: str, text: str) -> dict[str, msgspec.Raw]:
    try:
        found = _OBJECT.decode(text)
        for value in found.values():
            msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SettingsError(
            f"{option}: expected a JSON object ({error})", hint="""in a shell, put it in single quotes: '{"id": 1}'"""
        ) from None
    return found


def _read_position(text: str) -> Wanted:
    try:
        since = parse_since(text)
    except BindingError:
        raise SettingsError(
            f"--position: {text[:80]!r} is neither a position nor a commit timestamp",
            hint="write what a change has in `position` or `commit_timestamp`",
        ) from None
    if since.position is not None:
        return Wanted(position=since.position)
    return Wanted(committed_ms=(since.committed_us or 0) // 1000)


def _check_rows(kind: Kind, new: Row | None, old: Row | None) -> None:
    """Check that the rows are those that such a change has."""
    if kind is Kind.DELETE:
        if old is None or new is not None:
            raise SettingsError("a DELETE has an old row alone", hint="give the row that was deleted with --old")
    elif new is None:
        raise SettingsError(
            f"there is no change to explain: a new row is missing, as {kind.value} has one",
            hint="""give it with --row '{"id": 1, ...}', or a change of the past with --position""",
        )
    elif kind is Kind.INSERT and old is not None:
        raise SettingsError("--old: an INSERT has no old row", hint="say --event update, or leave it out")


def _place_of(binding: Binding | None, topic: str | None, table: str | None) -> tuple[str, str] | None:
    if table is not None:
        place = table_of(table)
        if "table" not in place:
            raise SettingsError("--table: expected one table", hint="write public.todos")
        return place["schema"], place["table"]
    if topic is not None or binding is None:
        return None
    if binding.schema is None or binding.table is None:
        raise SettingsError(
            "the binding is about more than one table: which is the row's?", hint="say it with --table public.todos"
        )
    return binding.schema, binding.table
