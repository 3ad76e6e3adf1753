"""Follow a database from a Python program: a node without sockets, and one inbox.

The replication stream, the filters and the slot's care are those of the server; what differs is who takes the changes,
and that the slot is confirmed by what the program has acknowledged.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Final, Literal, Self

from pgcast.api.arguments import check_acknowledgement, check_text, name_as_called, texts_of
from pgcast.api.changes import Change
from pgcast.api.inbox import Inbox
from pgcast.api.wishes import entries_for, kinds_of
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.hub import HubLimits
from pgcast.engine.node import Node, NodeLimits
from pgcast.engine.ports import Database
from pgcast.engine.watch import LagLimits
from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError, GapDetected, PgcastError, SettingsError
from pgcast.postgres.catalog import PostgresCatalog
from pgcast.postgres.connection import parse_target
from pgcast.postgres.messages import PostgresMessages
from pgcast.postgres.observer import PostgresObserver
from pgcast.postgres.replication import ReplicationSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from pgcast.api.changes import Event

log = get_logger(__name__)

DEFAULT_EVENTS: Final[tuple[Event, ...]] = ("INSERT", "UPDATE", "DELETE")
DEFAULT_PUBLICATIONS: Final = ("supabase_realtime",)
MAX_UNFINISHED: Final = 10_000

_BACKOFF_S: Final = (0.5, 15.0)
_WARN_BYTES: Final = 1 << 30


class Changes:
    """The changes, one by one, in commit order. For one task at a time; `listen` makes it.

    Iterating raises GapDetected where changes were lost: the slot had to be made anew. Iterate again to go on.
    """

    def __init__(self, node: Node, inbox: Inbox, *, is_manual: bool, max_unfinished: int) -> None:
        self._node = node
        self._inbox = inbox
        self._is_manual = is_manual
        self._max_unfinished = max_unfinished
        self._current: Change | None = None

    def __aiter__(self) -> Self:
        return self

    # fast path: per change (benchmarks/listening.py)
    async def __anext__(self) -> Change:
        if self._is_manual:
            if self._inbox.unfinished >= self._max_unfinished:
                await self._wait_for_acknowledgements()
        elif self._current is not None:
            self._current.is_done = True
            self._current = None
        committed = self._inbox.read_now()
        if committed is None:
            committed = await self._inbox.read()
            if committed is None:
                raise gap()
        change = self._current = Change(committed, self)
        self._inbox.hand_over(change)
        return change

    def acknowledged(self) -> None:
        """Look again at what is done; changes call it."""
        self._inbox.wake()

    @property
    def slot_created(self) -> bool:
        """Whether the slot was made for this listener: what is in the tables already has to be read from them."""
        return self._node.pipeline.slot_created

    async def _wait_for_acknowledgements(self) -> None:
        log.debug("waiting for acknowledgements", unacknowledged=self._inbox.unfinished)
        await self._inbox.wait_until(lambda: self._inbox.unfinished < self._max_unfinished)


def gap() -> GapDetected:
    """Return what is raised where changes were lost."""
    return GapDetected(
        "changes were lost: the replication slot had to be made anew",
        hint="read the tables again, then go on with the same iterator",
    )


@contextlib.asynccontextmanager
async def listen(
    dsn: str,
    *,
    tables: str | Iterable[str] = "*",
    events: Iterable[Event] = DEFAULT_EVENTS,
    filter: str | None = None,  # noqa: A002 - as in the protocol
    slot: str | None = None,
    publications: Sequence[str] = DEFAULT_PUBLICATIONS,
    ack: Literal["auto", "manual"] = "auto",
    max_unacknowledged: int = MAX_UNFINISHED,
) -> AsyncIterator[Changes]:
    """Follow a database: every change that commits from now on, or, with a slot, since it was last acknowledged.

    At least once, in commit order. The stream is opened again whenever it breaks, for as long as it takes.

    Args:
        dsn: The database: a URL or `key=value` string of libpq's. The role needs LOGIN and REPLICATION.
        tables: `schema.table`, `table` (in public), `schema.*` or `*`; one, or several.
        events: Of INSERT, UPDATE, DELETE and TRUNCATE.
        filter: In the language of the clients' filters, for all of the tables.
        slot: The name of a durable replication slot, made when it is missing: a program that comes back with it misses
            nothing. None stands for a temporary one, which ends with the connection.
        publications: Which to follow.
        ack: `auto`: a change is acknowledged when the next one is asked for. `manual`: by its `ack`.
        max_unacknowledged: With `manual`, so many changes are handed out before one has to be acknowledged.

    Raises:
        SettingsError: An argument cannot be read.
        BindingError: A table, an event or the filter cannot be served.
        DatabaseError: The stream cannot be opened; the subclass says why, the hint what to run.
    """
    check_acknowledgement(ack, max_unacknowledged)
    async with listening(dsn, tables=tables, events=events, filter=filter, slot=slot, publications=publications) as (
        node,
        inbox,
    ):
        yield Changes(node, inbox, is_manual=ack == "manual", max_unfinished=max_unacknowledged)


@contextlib.asynccontextmanager
async def listening(
    dsn: str,
    *,
    tables: str | Iterable[str],
    events: Iterable[Event],
    filter: str | None,  # noqa: A002 - as in the protocol
    slot: str | None,
    publications: Sequence[str],
) -> AsyncIterator[tuple[Node, Inbox]]:
    """Run a node with one inbox; the arguments are those of `listen`."""
    try:
        node, inbox = await _open(dsn, texts_of("tables", tables), events, filter, slot, publications)
    except PgcastError as error:
        name_as_called(error)
        raise
    try:
        yield node, inbox
    finally:
        await inbox.close()
        await node.stop()


async def _open(
    dsn: str,
    tables: Sequence[str],
    events: Iterable[Event],
    filter: str | None,  # noqa: A002 - as in the protocol
    slot: str | None,
    publications: Sequence[str],
) -> tuple[Node, Inbox]:
    if filter is not None:
        check_text("filter", filter)
    kinds = kinds_of(texts_of("events", events))
    database = _database(dsn, slot, publications)
    limits = NodeLimits(hub=HubLimits(window_bytes=0, window_s=0), lag=LagLimits(warn_bytes=_WARN_BYTES))
    node = Node(database, Payloads(), limits, Backoff(*_BACKOFF_S))
    try:
        is_lost = await node.open()
        entries = await entries_for(database.catalog, database.publications, tables=tables, kinds=kinds, filter=filter)
    except BaseException:
        await node.stop()
        if node.pipeline.slot_created and slot is not None:
            await _drop_slot(database)
        raise
    inbox = Inbox(entries, database.catalog, keeps_all=True, when_room=node.hub.sinks.note_room)
    if is_lost:
        inbox.lost()
    node.hub.sinks.add(inbox)
    node.follow()
    return node, inbox


async def _drop_slot(database: Database) -> None:
    """Drop a slot of which nobody was told: it would keep WAL, and pass for one that the program knows."""
    try:
        await database.source.drop_slot()
    except DatabaseError as error:
        log.warning("a slot that was made in vain could not be dropped", error=error.message)


def _database(dsn: str, slot: str | None, publications: Sequence[str]) -> Database:
    check_text("dsn", dsn)
    if slot is not None:
        check_text("slot", slot)
    names = texts_of("publications", publications)
    if not names or not all(names):
        raise SettingsError("publications: expected at least one name, and no empty one")
    target = parse_target(dsn)
    name = f"pgcast_{secrets.token_hex(8)}" if slot is None else slot
    return Database(
        source=ReplicationSource(target, slot=name, publications=names, temporary_slot=slot is None),
        catalog=PostgresCatalog(target, publications=names),
        observer=PostgresObserver(target, slot=name, publications=names),
        publications=names,
        messages=PostgresMessages(target, max_payload_bytes=0),
    )
