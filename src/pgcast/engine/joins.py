"""What a join asks for, checked against the catalog, and the place in history from which it is served.

A join means from now on, exactly: a transaction is before it if a snapshot taken after it arrived sees that
transaction. So whatever a query after the reply does not show will come, and nothing else. Where the database cannot be
asked, more is delivered, never less.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgcast.engine.bindings import blind_spots, entry_of, has_table, legacy_condition
from pgcast.engine.groups import Reading
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError
from pgcast.model.lsn import NO_LSN
from pgcast.model.position import Position, parse_position
from pgcast.model.served import ServedTopics

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgcast.engine.groups import Rule
    from pgcast.engine.ports import PublishedTable, Questions
    from pgcast.fanout.window import Window
    from pgcast.model.binding import Binding
    from pgcast.model.change import Change
    from pgcast.model.snapshot import Snapshot

ALL_KINDS = ROW_KINDS | {Kind.TRUNCATE}
EVERYTHING_SERVED = ServedTopics()
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*", re.ASCII)


async def entries_of(bindings: Sequence[Binding], catalog: Questions) -> tuple[Entry, ...]:
    """Check bindings against the catalog, and turn them into what the index takes.

    Raises:
        BindingError: One of them cannot be served; the message is what the client is told.
        DatabaseError: The database could not be asked.
    """
    try:
        return await _entries_of(bindings, await catalog.published_tables(), catalog)
    except BindingError:
        # That answer may be older than the table or column that it lacks.
        return await _entries_of(bindings, await catalog.published_tables(is_fresh=True), catalog)


async def note_on(entries: Sequence[Entry], catalog: Questions) -> str | None:
    """Return what a client has to know of entries that are served, but not wholly.

    Raises:
        DatabaseError: The database could not be asked.
    """
    if not any(entry.leave for entry in entries):
        return None
    return blind_spots(entries, await catalog.published_tables())


async def legacy_entries_of(
    rest: str, catalog: Questions, served: ServedTopics = EVERYTHING_SERVED
) -> tuple[Entry, ...]:
    """Turn a topic of the oldest protocol, without `realtime:`, into entries; none if it can never match.

    `*`, `schema`, `schema:table`, or `schema:table:column=eq.value`. Names may contain colons: the longest schema and
    table that exist win.

    Args:
        rest: The topic without `realtime:`.
        catalog: Asked which tables there are.
        served: Which topics are served, for which kinds of change.

    Raises:
        DatabaseError: The database could not be asked.
    """
    tables = await catalog.published_tables()
    schema, table, condition = _split_by(rest, tables)
    if condition is not None and not has_table(tables, schema, table):
        # That answer may be older than the table.
        tables = await catalog.published_tables(is_fresh=True)
        schema, table, condition = _split_by(rest, tables)
    column, _, value = (condition or "").partition("=eq.")
    kinds = served.kinds(schema, table, column or None)
    if not kinds:
        return ()
    if condition is None:
        return (Entry(1, kinds, schema, table),)
    try:
        if not column or "=eq." not in condition:
            return ()
        equal = await legacy_condition(column, value, tables, (schema, table), catalog)
    except BindingError:
        return ()
    return (Entry(1, ROW_KINDS & kinds, schema, table, (equal,)),)


def split_legacy_topic(rest: str, tables: Collection[tuple[str, str]]) -> tuple[str | None, str | None, str | None]:
    """Split `schema:table:condition`; a part that is not there is None, and so is the schema of `*`.

    Args:
        rest: The topic without `realtime:`.
        tables: The (schema, table) that exist.
    """
    if rest == "*":
        return None, None, None
    known: list[tuple[str, str | None]] = [
        (schema, table)
        for schema, table in tables
        if rest == f"{schema}:{table}" or rest.startswith(f"{schema}:{table}:")
    ]
    known += [(schema, None) for schema, _ in tables if rest == schema]
    if known:
        schema, table = max(known, key=lambda names: (len(names[0]), len(names[1] or "")))
        condition = "" if table is None else rest[len(schema) + len(table) + 2 :]
        return schema, table, condition or None
    schema, _, behind = rest.partition(":")
    name, _, condition = behind.partition(":")
    return schema, name or None, condition or None


def _split_by(rest: str, tables: Sequence[PublishedTable]) -> tuple[str | None, str | None, str | None]:
    return split_legacy_topic(rest, {(table.schema, table.name) for table in tables})


async def _entries_of(
    bindings: Sequence[Binding], tables: Sequence[PublishedTable], catalog: Questions
) -> tuple[Entry, ...]:
    return tuple([await entry_of(binding, tables, catalog) for binding in bindings])


@dataclass(frozen=True, slots=True)
class Since:
    """From where a binding wants the past: exactly one of the two is set.

    Attributes:
        position: Everything after this change.
        committed_us: Everything committed at or after this time, microseconds since 1970-01-01 UTC.
    """

    position: Position | None = None
    committed_us: int | None = None


def parse_since(text: str) -> Since:
    """Read a position or a commit timestamp.

    Raises:
        BindingError: It is neither; the message is what the client is told.
    """
    try:
        if not _TIMESTAMP.fullmatch(text):
            return Since(position=parse_position(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        since_1970 = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (BindingError, ValueError, OverflowError):
        raise BindingError(
            f"Error parsing `since` params: {text[:80]!r} is neither a position (as in the key `position` of a change) "
            "nor a commit timestamp such as 2026-01-02T03:04:05.678Z"
        ) from None
    return Since(committed_us=round(since_1970.total_seconds() * 1_000_000))


@dataclass(frozen=True, slots=True)
class Start:
    """Where a member begins.

    Attributes:
        reading: Its way through the window.
        has_gap: Whether something that it asked for is no longer held.
    """

    reading: Reading
    has_gap: bool


def start_of(
    asked: Sequence[tuple[int, str | None]], snapshot: Snapshot | None, window: Window, epoch: str, joined_at: int
) -> Start:
    """Decide from where each entry of a join is served.

    Args:
        asked: Each entry's id, and from where its binding wants the past, as the client wrote it.
        snapshot: Taken after the join arrived; None where the database could not be asked.
        window: The recent changes.
        epoch: Of the database that is followed now.
        joined_at: The window's end when the join arrived: where to start without a snapshot.

    Raises:
        BindingError: A `since` cannot be read.
    """
    at = joined_at if snapshot is None else window.first_unseen(snapshot)
    rules: dict[int, Rule] = {}
    has_gap = False
    # Those with a past come last: of bindings that share an id, the one that wants more decides.
    for entry_id, wanted in sorted(asked, key=lambda pair: pair[1] is not None):
        if wanted is None:
            if snapshot is not None:
                rules[entry_id] = _Unseen(snapshot)
            continue
        since = parse_since(wanted)
        number = _number_of(since, window, epoch, snapshot)
        if number is None:
            has_gap = True
            at = window.start
            rules.pop(entry_id, None)
            continue
        at = min(at, number)
        rules[entry_id] = _rule_of(since, number, window)
    sees_all = any(isinstance(rule, _AtTime) for rule in rules.values())
    until = NO_LSN if snapshot is None else snapshot.insert_lsn
    return Start(Reading(at, rules, until, sees_all=sees_all), has_gap)


def _number_of(since: Since, window: Window, epoch: str, snapshot: Snapshot | None) -> int | None:
    if since.committed_us is not None:
        return window.number_at_time(since.committed_us)
    position = since.position
    if position is None or position.epoch != epoch:
        return None
    if snapshot is not None and position.commit_lsn > snapshot.insert_lsn:
        return None
    return window.number_after(position.commit_lsn, position.index)


def _rule_of(since: Since, number: int, window: Window) -> Rule:
    """Return what tells the changes that are asked for, given the number of the first of them."""
    if since.position is not None:
        return _After(since.position.commit_lsn, since.position.index)
    committed_us = since.committed_us or 0
    is_reached = window.floor_us is not None and committed_us // 1000 <= window.floor_us // 1000
    if is_reached or number < window.end:
        # Known from here on by its place: what follows may have been committed a moment earlier by the clock.
        return _After(*window.place_before(number))
    return _AtTime(committed_us)


class _Unseen:
    """Changes of transactions that a snapshot does not see."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __call__(self, change: Change) -> bool:
        return not self._snapshot.sees(change.transaction.xid)


class _After:
    """Changes after a position, also those that a restarted server reads again."""

    __slots__ = ("_commit_lsn", "_index")

    def __init__(self, commit_lsn: int, index: int) -> None:
        self._commit_lsn = commit_lsn
        self._index = index

    def __call__(self, change: Change) -> bool:
        return (change.transaction.commit_lsn, change.index) > (self._commit_lsn, self._index)


class _AtTime:
    """Changes that are not in the window yet, from the first one on that was committed at or after a time."""

    __slots__ = ("_committed_us", "_is_reached")

    def __init__(self, committed_us: int) -> None:
        self._committed_us = committed_us
        self._is_reached = False

    def __call__(self, change: Change) -> bool:
        self._is_reached = self._is_reached or change.transaction.committed_us >= self._committed_us
        return self._is_reached
