"""Changes as Python programs get them: names, rows as dicts, times and positions; and the word that one is done.

Rows are made when they are asked for. Their values are those of the JSON that clients get; the text that Postgres
itself has for a value is there too, for numbers that a float cannot hold.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import orjson

from pgcast.model.change import Absent

if TYPE_CHECKING:
    from pgcast.model.change import Change as CommittedChange
    from pgcast.model.lsn import Lsn

Event = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
"""What happened to a row; TRUNCATE to a whole table."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Acknowledging(Protocol):
    """Whom a change tells that it is done."""

    def acknowledged(self) -> None:
        """Look again at what is done; called on any thread."""
        ...


class PlainChange:
    """One committed change of one row, or the TRUNCATE of one table.

    Args:
        committed: As the engine has it.
    """

    __slots__ = ("_committed", "_old_record", "_record")

    def __init__(self, committed: CommittedChange) -> None:
        self._committed = committed
        self._record: dict[str, Any] | None = None
        self._old_record: dict[str, Any] | None = None

    @property
    def schema(self) -> str:
        """The table's schema."""
        return self._committed.table.schema

    @property
    def table(self) -> str:
        """The table's name, without its schema."""
        return self._committed.table.name

    @property
    def event(self) -> Event:
        """What happened: INSERT, UPDATE, DELETE or TRUNCATE."""
        return self._committed.kind.value

    # fast path: per change
    @property
    def record(self) -> dict[str, Any] | None:
        """The row as it is now, by column; None for DELETE and TRUNCATE.

        A value that an UPDATE did not touch and that the WAL does not repeat (a large one, kept out of line) is left
        out, unless the table has REPLICA IDENTITY FULL.
        """
        if self._record is None and self._committed.record is not None:
            self._record = _parse(self._committed.record)
        return self._record

    @property
    def old_record(self) -> dict[str, Any] | None:
        """What is known of the row before: its key, or with REPLICA IDENTITY FULL all of it; None for INSERT."""
        if self._old_record is None and self._committed.old_record is not None:
            self._old_record = _parse(self._committed.old_record)
        return self._old_record

    def text(self, column: str) -> str | None:
        """Return a value as Postgres prints it, exactly; of the new row, for a DELETE of the old one. None for NULL.

        Raises:
            KeyError: The change has no such value.
        """
        committed = self._committed
        values = committed.old_values if committed.values is None else committed.values
        columns = committed.table.relation.columns
        for known, value in zip(columns, values or (), strict=values is not None):
            if known.name == column and not isinstance(value, Absent):
                return None if value is None else value.decode("utf-8", "replace")
        raise KeyError(column)

    @property
    def commit_timestamp(self) -> datetime:
        """When the transaction was committed, in UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self._committed.transaction.committed_us)

    @property
    def position(self) -> str:
        """Where it stands in the history of the database; sorts as a string, and no other change has the same."""
        committed = self._committed
        return f"{committed.transaction.position_prefix.decode()}{committed.index:08x}"

    @property
    def transaction_id(self) -> int:
        """The transaction's id (xid, 32 bits); the same for all changes of one transaction."""
        return self._committed.transaction.xid

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.event} {self.schema}.{self.table} at {self.position}>"


class _Listened(PlainChange):
    """A change that can be acknowledged."""

    __slots__ = ("_listener", "is_done")

    def __init__(self, committed: CommittedChange, listener: Acknowledging) -> None:
        self._committed = committed
        self._record = None
        self._old_record = None
        self._listener = listener
        self.is_done = False

    @property
    def commit_lsn(self) -> Lsn:
        """Of its transaction."""
        return self._committed.transaction.commit_lsn


class Change(_Listened):
    """A change that `listen` brings."""

    __slots__ = ()

    async def ack(self) -> None:
        """Say that it is done: once all before it are done too, it does not come again. Twice is safe.

        Postgres is told within a second, and when the listener is closed; until the transaction as a whole is done, a
        crash brings all of it again.
        """
        self.is_done = True
        self._listener.acknowledged()


class SyncChange(_Listened):
    """A change that `listen_sync` brings."""

    __slots__ = ()

    def ack(self) -> None:
        """Say that it is done, on whatever thread; otherwise as for a change of `listen`."""
        self.is_done = True
        self._listener.acknowledged()


def _parse(row: bytes) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = orjson.loads(row)
    except orjson.JSONDecodeError:
        # A json column may hold what orjson refuses: half of a surrogate pair, or a number beyond every float.
        parsed = json.loads(row)
    return parsed
