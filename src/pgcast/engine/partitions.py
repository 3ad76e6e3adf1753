"""Partitions that are attached and detached while the stream is read: when it has to be opened anew, and from where.

Versions 13 and 14 decide once per stream and table whether, and as which table, its rows are published. A table whose
rows were passed over stays unpublished when it is attached to a published partitioned table, and one that is detached
stays published, until the stream is opened anew. Rows of it that were passed over since then are still in the WAL: a
stream that starts right behind the transaction that attached it brings them. One that starts earlier does not, for it
comes past the older rows again.

These versions send Begin and Commit of every transaction, and a row of `pg_inherits` tells which one wrote it. So where
that transaction has not been read yet, the stream is opened anew when it has been, and nothing is missed; where it has,
the stretch behind it is read a second time.

Source: PostgreSQL, chapters "pg_inherits" and "System Columns"; seen on 13.23 and 14.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.wal.taken import Taken

if TYPE_CHECKING:
    from pgcast.model.snapshot import Snapshot

_FIRST_VERSION = 130_000
_FIRST_WITHOUT = 150_000
_XID_MASK = (1 << 32) - 1
_XID_HALF = 1 << 31


@dataclass(frozen=True, slots=True)
class Attached:
    """The partitions below the tables that the publications name, at one moment.

    Attributes:
        partitions: `(partition, parent, xid)`: OIDs, and the transaction or savepoint that attached it.
        snapshot: Of the same statement.
    """

    partitions: frozenset[tuple[int, int, int]]
    snapshot: Snapshot


class Turn(Enum):
    """Whether the stream has to be opened anew where it is."""

    NO = "no"
    ANEW = "anew"
    LOST = "lost"
    """And what it did not bring until then cannot be had."""


def goes_stale(server_version: int) -> bool:
    """Say whether streams of this version go on as they began when partitions come and go."""
    return _FIRST_VERSION <= server_version < _FIRST_WITHOUT


class Partitions:
    """Compares what is attached, once a second, and says what that means for the stream.

    Args:
        has_backlog: Whether the stream starts before the first look: what came and went until then is not known.

    Attributes:
        taken: What has been taken over of the last seconds.
        confirmable: What commits below this place need not be read again.
    """

    def __init__(self, *, has_backlog: bool) -> None:
        self.taken = Taken()
        self._has_backlog = has_backlog
        self._last: Attached | None = None
        self.confirmable = NO_LSN
        self._awaited: dict[int, Lsn] = {}  # by xid, with the place below which it must have committed
        self._possible: set[int] = set()  # xids that may be part of the backlog
        self._turn_at = NO_LSN

    def look(self, now: Attached) -> Lsn | None:
        """Compare with the last look; return from where the stream has to be read again, if it has to."""
        before, self._last = self._last, now
        insert_lsn = now.snapshot.insert_lsn
        if before is None:
            if self._has_backlog and now.partitions:
                self._possible = {xid for _, _, xid in now.partitions}
                self._turn_at = insert_lsn
            return None
        ends: dict[int, Lsn] = {}
        for _, _, xid in now.partitions - before.partitions:
            if _is_older(xid, before.snapshot.xmin):
                continue  # its root was published meanwhile, and that Postgres notices
            self._awaited[xid] = insert_lsn
            if end := self.taken.end_of(xid):
                ends[xid] = end
        if _pairs(before) - _pairs(now):
            self._turn_at = max(self._turn_at, insert_lsn)
        # Not yet what was written since then: a commit may have been read before the look that did not see it.
        self.taken.forget(self.confirmable)
        self.confirmable = before.snapshot.insert_lsn
        if not ends:
            return None
        first = min(ends, key=lambda xid: ends[xid])
        del self._awaited[first]  # the others come again
        return ends[first]

    def is_turn(self, xid: int) -> bool:
        """Say whether the stream has to be opened anew behind the transaction that is complete now."""
        if xid in self._possible:
            self._possible.discard(xid)
            return True
        return self._awaited.pop(xid, None) is not None

    def passed(self, lsn: Lsn) -> Turn:
        """Say what has to be done now that all commits below `lsn` have been read.

        What attached a partition and was not among them was a savepoint, whose id the stream does not tell, or is
        forgotten already.
        """
        is_lost = any(at <= lsn for at in self._awaited.values())
        is_due = NO_LSN < self._turn_at <= lsn
        self._awaited = {xid: at for xid, at in self._awaited.items() if at > lsn}
        if is_due:
            self._turn_at = NO_LSN
            self._possible.clear()
        return Turn.LOST if is_lost else Turn.ANEW if is_due else Turn.NO


def _pairs(attached: Attached) -> set[tuple[int, int]]:
    return {(partition, parent) for partition, parent, _ in attached.partitions}


def _is_older(xid: int, xmin: int) -> bool:
    """Say whether a transaction, or a savepoint, was surely over when nothing below `xmin` was running."""
    return (xmin - xid - 1) & _XID_MASK < _XID_HALF
