"""What the stream carries for others than those who follow changes: rows that somebody watches for, and messages.

Each is relayed once, in commit order with the changes; a message outside of all transactions at once. What was
committed before the first stream was opened is past: a slot brings it again after a restart.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from pgcast.logs import get_logger
from pgcast.model.lsn import NO_LSN

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.model.change import Change
    from pgcast.model.lsn import Lsn
    from pgcast.model.relation import Table
    from pgcast.wal.messages import Begin, LogicalMessage
    from pgcast.wal.progress import Progress

log = get_logger(__name__)

T = TypeVar("T")


class Basin(Protocol):
    """Where what is relayed ends up."""

    @property
    def is_full(self) -> bool:
        """Whether others should run before there is more."""
        ...

    def flush_now(self) -> None:
        """Pass on what is there, as far as possible at once."""
        ...


class Relays:
    """Those who have registered for something.

    Attributes:
        on_insert: Who is told of the rows that are inserted into a table, by schema and name.
        on_message: Who is told of what programs write with `pg_logical_emit_message` (14+), by its prefix; with the id
            of the transaction that it belongs to, if it belongs to one.
        basin: Where that ends up; reading waits while it is full.
        since: What was committed below this place is past.
    """

    def __init__(self) -> None:
        self.on_insert: dict[tuple[str, str], Callable[[Change], None]] = {}
        self.on_message: dict[str, Callable[[bytes, int | None], None]] = {}
        self.basin: Basin | None = None
        self.since = NO_LSN

    def watches(self, table: Table) -> bool:
        """Say whether somebody watches for rows of a table."""
        return (table.schema, table.name) in self.on_insert

    def take_insert(self, change: Change, commit_lsn: Lsn) -> None:
        """Relay an inserted row that is news."""
        tell = self.on_insert.get((change.table.schema, change.table.name))
        if tell is not None and commit_lsn >= self.since:
            _tell(tell, change)

    def take_message(self, message: LogicalMessage, progress: Progress, begin: Begin | None) -> None:
        """Relay a message, if it is news.

        Args:
            message: The message.
            progress: Knows what is news.
            begin: Of the open transaction, if there is one.
        """
        if not message.transactional:
            begin = None
        is_news = progress.take_message(message.lsn, None if begin is None else begin.final_lsn)
        tell = self.on_message.get(message.prefix)
        if is_news and tell is not None and (message.lsn if begin is None else begin.final_lsn) >= self.since:
            _tell(lambda content: tell(content, None if begin is None else begin.xid), message.content)

    async def make_room(self) -> None:
        """Return once there is room for more; other tasks get their turn meanwhile."""
        while self.basin is not None and self.basin.is_full:
            self.basin.flush_now()
            await asyncio.sleep(0)  # a flush is being written, slice by slice


def _tell(tell: Callable[[T], None], what: T) -> None:
    """Tell somebody; a fault there is not the stream's."""
    try:
        tell(what)
    except Exception:
        log.exception("what the database sent could not be passed on")
