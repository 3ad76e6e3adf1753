"""One payload per change: what clients read of it, in today's shape and in the oldest protocol's.

Everything but the rows, the time and the position is the same for all changes of a table, and is written once.

Source: the realtime protocol's `postgres_changes` message (`data`), and the flat payload of its oldest version.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from pgcast.changes.limits import TOO_LARGE, short_object
from pgcast.changes.values import renderer, text_renderer
from pgcast.model.change import ABSENT, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgcast.changes.values import Renderer
    from pgcast.model.change import Absent, Change
    from pgcast.model.relation import Table

_MAX_TABLES: Final = 4096  # whose constant parts are kept

_MAX_VIEWS: Final = 256  # of one table

_NO_ERRORS: Final = b',"errors":null,"position":"'
_TOO_LARGE: Final = b',"errors":%b,"position":"' % TOO_LARGE

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def commit_timestamp(committed_us: int) -> bytes:
    """Print a commit time as clients read it: `2026-01-02T03:04:05.678Z`, milliseconds, the rest cut off.

    Args:
        committed_us: Microseconds since 1970-01-01 UTC, within the years 1 to 9999.
    """
    seconds, microseconds = divmod(committed_us, 1_000_000)
    return b"%b.%03dZ" % (_print_second(seconds), microseconds // 1000)


@lru_cache(maxsize=16)
def _print_second(seconds: int) -> bytes:
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat().encode()


class Payloads:
    """Renders changes, and keeps the constant parts of each table that it met.

    A change must have its `transaction` and `index`.

    Args:
        max_tables: Of how many tables the constant parts are kept.
        max_bytes: What is larger comes short, see `short`; 0 for no limit.
    """

    __slots__ = ("_max_bytes", "_max_tables", "_parts")

    def __init__(self, max_tables: int = _MAX_TABLES, *, max_bytes: int = 0) -> None:
        self._max_tables = max_tables
        self._max_bytes = max_bytes or sys.maxsize
        self._parts: dict[Table, _Parts] = {}

    def current(self, change: Change) -> bytes:
        """Return the `data` object of a `postgres_changes` message.

        Keys: schema, table, type, commit_timestamp, columns, record (not for DELETE), old_record (not for INSERT),
        errors (null), position. TRUNCATE, which this protocol does not deliver, has neither record.
        """
        # fast path: per change and view
        parts = self._parts.get(change.table) or self._parts_of(change.table)
        payload = _join(change, parts.heads[change.kind], parts.columns, change.record, change.old_record)
        return payload if len(payload) <= self._max_bytes else self.short(change)

    def view(self, change: Change, select: tuple[str, ...], visible: frozenset[str] | None = None) -> bytes:
        """Return what `current` returns, with some columns alone: those of the key and those selected, if visible.

        Args:
            change: The change.
            select: Names of columns, empty for all; those that the table does not have count for nothing.
            visible: Names of the columns that the reader may see; None for all.
        """
        parts = self._parts.get(change.table) or self._parts_of(change.table)
        view = parts.view(change.table, select, visible)
        record, old_record = (
            None if values is None else _object(view.typed_columns, [values[place] for place in view.places])
            for values in (change.values, change.old_values)
        )
        payload = _join(change, parts.heads[change.kind], view.columns, record, old_record)
        return payload if len(payload) <= self._max_bytes else self.short(change, select, visible)

    def short(self, change: Change, select: tuple[str, ...] = (), visible: frozenset[str] | None = None) -> bytes:
        """Return what `current` and `view` return of a change that is too large: short values alone, and an error."""
        parts = self._parts_of(change.table)
        view = parts.view(change.table, select, visible)
        record, old_record = (
            None if values is None else short_object(view.typed_columns, [values[place] for place in view.places])
            for values in (change.values, change.old_values)
        )
        return _join(change, parts.heads[change.kind], view.columns, record, old_record, _TOO_LARGE)

    def refused(self, change: Change, error: str) -> bytes:
        """Return what is told in place of a row: the table, the time and the error, without columns and values.

        Both protocols have the same.
        """
        parts = self._parts.get(change.table) or self._parts_of(change.table)
        record = None if change.values is None else b"{}"
        old_record = None if change.old_values is None else b"{}"
        errors = b',"errors":%b,"position":"' % orjson.dumps([error])
        return _join(change, parts.heads[change.kind], b'","columns":[]', record, old_record, errors)

    def legacy(self, change: Change, *, as_text: bool, visible: frozenset[str] | None = None) -> bytes:
        """Return the payload of the oldest protocol.

        Keys as in `current`, except that columns have flags and type modifier, that the old_record of a DELETE has
        all columns, those not known as null, and that TRUNCATE has neither columns nor records.

        Args:
            change: The change.
            as_text: Values are strings of Postgres' text, as the original server had them, instead of typed JSON.
            visible: Names of the columns that the reader may see; None for all.
        """
        parts = self._parts_of(change.table)
        view = parts.view(change.table, (), visible)
        columns = b'"' if change.kind is Kind.TRUNCATE else view.flagged_columns
        record, old_record = change.record, change.old_record
        shown = view.text_columns if as_text else view.typed_columns
        is_deleted = change.kind is Kind.DELETE
        is_cut = as_text or visible is not None
        if change.values is not None and is_cut:
            record = _object(shown, [change.values[place] for place in view.places])
        if change.old_values is not None and (is_cut or is_deleted):
            old_record = _object(shown, [change.old_values[place] for place in view.places], is_whole=is_deleted)
        payload = _join(change, parts.heads[change.kind], columns, record, old_record)
        if len(payload) <= self._max_bytes:
            return payload
        return self.short_legacy(change, as_text=as_text, visible=visible)

    def short_legacy(self, change: Change, *, as_text: bool, visible: frozenset[str] | None = None) -> bytes:
        """Return what `legacy` returns of a change that is too large: short values alone, and an error."""
        parts = self._parts_of(change.table)
        view = parts.view(change.table, (), visible)
        shown = view.text_columns if as_text else view.typed_columns
        record, old_record = (
            None if values is None else short_object(shown, [values[place] for place in view.places])
            for values in (change.values, change.old_values)
        )
        return _join(change, parts.heads[change.kind], view.flagged_columns, record, old_record, _TOO_LARGE)

    def _parts_of(self, table: Table) -> _Parts:
        parts = self._parts.get(table)
        if parts is None:
            if len(self._parts) >= self._max_tables:
                del self._parts[next(iter(self._parts))]
            parts = self._parts[table] = _Parts(table)
        return parts


class _Parts:
    """What all payloads of a table have in common.

    Attributes:
        heads: For each kind, the payload up to the commit time.
        columns: What follows on the commit time, up to the records.
        flagged: Of each column, how the oldest protocol describes it.
        typed_columns: Of each column the name as a JSON key, and what renders its values.
        text_columns: The same, all values as strings.
    """

    __slots__ = ("_views", "columns", "flagged", "heads", "text_columns", "typed_columns")

    def __init__(self, table: Table) -> None:
        columns = table.relation.columns
        names = [column.name for column in columns]
        keys = table.primary_key or [number for number, column in enumerate(columns) if column.is_key]
        described = [{"name": name, "type": shape.name} for name, shape in zip(names, table.types, strict=True)]
        self.flagged = [
            {
                "flags": ["key"] if number in keys else [],
                **described[number],
                "type_modifier": column.type_modifier & 0xFFFFFFFF,
            }
            for number, column in enumerate(columns)
        ]
        self.heads = {kind: _head(table, kind) for kind in Kind}
        self.columns = b'","columns":' + orjson.dumps(described)
        self.typed_columns = _keyed(names, map(renderer, table.types))
        self.text_columns = _keyed(names, map(text_renderer, table.types))
        self._views: dict[tuple[tuple[str, ...], frozenset[str] | None], _View] = {}

    def view(self, table: Table, select: tuple[str, ...], visible: frozenset[str] | None) -> _View:
        """Return what payloads of these columns have in common."""
        view = self._views.get((select, visible))
        if view is None:
            if len(self._views) >= _MAX_VIEWS:
                self._views.clear()
            view = self._views[select, visible] = _View(self, table, select, visible)
        return view


class _View:
    """What all payloads of some of a table's columns have in common.

    Attributes:
        places: Where the columns are in the table, ascending.
        columns: As in _Parts.
        flagged_columns: What follows on the commit time in the oldest protocol.
        typed_columns: As in _Parts.
        text_columns: As in _Parts.
    """

    __slots__ = ("columns", "flagged_columns", "places", "text_columns", "typed_columns")

    def __init__(self, parts: _Parts, table: Table, select: tuple[str, ...], visible: frozenset[str] | None) -> None:
        columns = table.relation.columns
        keys = table.primary_key or [place for place, column in enumerate(columns) if column.is_key]
        self.places = [
            place
            for place, column in enumerate(columns)
            if (not select or column.name in select or place in keys) and (visible is None or column.name in visible)
        ]
        described = [{"name": columns[place].name, "type": table.types[place].name} for place in self.places]
        self.columns = b'","columns":' + orjson.dumps(described)
        self.flagged_columns = b'","columns":' + orjson.dumps([parts.flagged[place] for place in self.places])
        self.typed_columns = [parts.typed_columns[place] for place in self.places]
        self.text_columns = [parts.text_columns[place] for place in self.places]


def _keyed(names: Iterable[str], renderers: Iterable[Renderer]) -> list[tuple[bytes, Renderer]]:
    return [(orjson.dumps(name) + b":", render) for name, render in zip(names, renderers, strict=True)]


def _head(table: Table, kind: Kind) -> bytes:
    head = orjson.dumps({"schema": table.schema, "table": table.name, "type": kind.value, "commit_timestamp": ""})
    return head.removesuffix(b'"}')


# fast path: per change and view
def _join(
    change: Change,
    head: bytes,
    columns: bytes,
    record: bytes | None,
    old_record: bytes | None,
    errors: bytes = _NO_ERRORS,
) -> bytes:
    transaction = change.transaction
    index = change.index
    end = _INDICES[index] if index < _READY else b'%08x"}' % index
    # In one join: a row of 50 MB is copied once.
    return b"".join(
        (
            head,
            transaction.timestamp,
            columns,
            b"" if record is None else b',"record":',
            record or b"",
            b"" if old_record is None else b',"old_record":',
            old_record or b"",
            errors,
            transaction.position_prefix,
            end,
        )
    )


_READY: Final = 1024
_INDICES: Final = tuple(b'%08x"}' % index for index in range(_READY))


def _object(
    columns: Sequence[tuple[bytes, Renderer]], values: Sequence[bytes | Absent | None], *, is_whole: bool = False
) -> bytes:
    """Return the object of a row's values; those that are ABSENT are null if it shall be whole, else left out."""
    return b"{%b}" % b",".join(
        [
            name + (render(value) if isinstance(value, bytes) else b"null")
            for (name, render), value in zip(columns, values, strict=True)
            if is_whole or value is not ABSENT
        ]
    )
