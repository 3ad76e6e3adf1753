"""The node's recent changes, rendered once, in commit order: the store from which every resume is answered.

Changes are numbered from 0 for the life of the node; readers keep a number. The window is bounded in bytes and in age,
and trimmed in whole segments: one transaction, or a piece of a large one. It knows nothing of groups or sockets.

What it has dropped is also what the slot may forget, so the window says how far the slot can be confirmed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING

from pgcast.model.lsn import NO_LSN, Lsn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.model.change import Change, Transaction
    from pgcast.model.snapshot import Snapshot

_SEGMENT_CHANGES = 2_000
_SEGMENT_BYTES = 1 << 20
# A transaction of one row takes more for itself than for the row (tracemalloc: 515 bytes beside 335).
_TRANSACTION_BYTES = 500
_XID_HALF = 1 << 31
_XID_MASK = (1 << 32) - 1


class Segment:
    """Neighbouring changes of one transaction; a large transaction has several.

    Attributes:
        start: The number of its first change.
        count: How many changes it has.
        size_bytes: About what they take.
        transaction: Whose changes they are.
        opened_at_s: When it was begun, on the caller's monotonic clock.
        end_lsn: The commit's end LSN, set on a transaction's last segment once it is complete; else 0.
        latest_us: The latest commit time of this and all earlier segments: commit times need not ascend.
        newest_xid: Likewise the newest transaction id, in the circular order of 32-bit ids.
    """

    __slots__ = ("count", "end_lsn", "latest_us", "newest_xid", "opened_at_s", "size_bytes", "start", "transaction")

    def __init__(self, start: int, transaction: Transaction, opened_at_s: float, before: Segment | None) -> None:
        self.start = start
        self.transaction = transaction
        self.opened_at_s = opened_at_s
        self.end_lsn = NO_LSN
        self.count = 0
        self.size_bytes = _TRANSACTION_BYTES
        self.latest_us = transaction.committed_us
        self.newest_xid = transaction.xid
        if before is not None:
            self.latest_us = max(self.latest_us, before.latest_us)
            if _is_older_xid(self.newest_xid, before.newest_xid):
                self.newest_xid = before.newest_xid


class Window:
    """The recent changes, by size and age.

    Args:
        limit_bytes: About how much memory the changes may take.
        limit_age_s: How long a change is kept.
    """

    def __init__(self, limit_bytes: int, limit_age_s: float) -> None:
        self.limit_bytes = limit_bytes
        self._limit_age_s = limit_age_s
        self._changes: list[Change] = []
        self._base = 0  # the number of _changes[0]
        self._segments: deque[Segment] = deque()
        self._open: Segment | None = None
        self._begun_by_xid: dict[int, int] = {}
        self._marks: deque[tuple[int, Lsn]] = deque()
        self._closed_bytes = 0
        self.confirmable = NO_LSN
        self.floor: tuple[int, int] = (0, 0)
        self.floor_us: int | None = None
        self._floor_changes = 0  # how many of the changes that are gone were committed in the floor's millisecond

    @property
    def start(self) -> int:
        """The number of the oldest change held."""
        return self._base

    @property
    def end(self) -> int:
        """The number that the next change will get."""
        return self._base + len(self._changes)

    @property
    def size_bytes(self) -> int:
        """About how much memory the changes take."""
        return self._closed_bytes + (0 if self._open is None else self._open.size_bytes)

    def restart(self, floor: tuple[int, int]) -> None:
        """Forget everything; numbers go on ascending. For the first start, and for a stream that continues no other.

        Args:
            floor: (commit LSN, index): from now on the window covers everything after this place.
        """
        self._base = self.end
        self._changes.clear()
        self._segments.clear()
        self._open = None
        self._begun_by_xid.clear()
        self._marks.clear()
        self._closed_bytes = 0
        self.confirmable = NO_LSN
        self.floor = floor
        self.floor_us = None
        self._floor_changes = 0

    # fast path: per change
    def append(self, change: Change, size_bytes: int, now_s: float) -> None:
        """Take a change over. Changes come in commit order, those of one transaction in a row.

        Args:
            change: The change.
            size_bytes: How long it was in the WAL: what it takes here is estimated from that.
            now_s: The time, on the caller's monotonic clock.
        """
        segment = self._open
        if segment is None or segment.count >= _SEGMENT_CHANGES or segment.size_bytes > _SEGMENT_BYTES:
            segment = self._begin_segment(change.transaction, now_s)
        segment.count += 1
        # The row's JSON, its values, and the objects around them. For 2 to 30 columns and texts of 10 bytes to 2 MB
        # CPython takes 0.8 to 1.0 times this (tracemalloc).
        segment.size_bytes += 230 + 45 * len(change.table.types) + 2 * size_bytes
        self._changes.append(change)

    def commit(self, end_lsn: Lsn) -> None:
        """Note that the transaction of the last changes is complete; it ends at `end_lsn`."""
        if self._open is not None:
            self._open.end_lsn = end_lsn
            self._close_segment()
        else:
            self.mark(end_lsn)

    def break_off(self) -> None:
        """Note that the stream broke inside a transaction: what is missing of it will come as a segment of its own."""
        self._close_segment()

    def mark(self, lsn: Lsn) -> None:
        """Note that everything that commits below `lsn` has been taken over: a keepalive's position."""
        if self._marks and self._marks[-1][0] == self.end:
            self._marks.pop()
        self._marks.append((self.end, lsn))

    def trim(self, now_s: float, needed: int | None = None) -> int:
        """Drop what is over the limits, and advance `confirmable` and `floor` accordingly.

        Args:
            now_s: The time, on the caller's monotonic clock.
            needed: The number of a change that shall stay all the same, with those after it; None for no such change.

        Returns:
            The number up to which changes would be dropped next if they were not needed; 0 if all that is over the
            limits has been dropped.
        """
        oldest_s = now_s - self._limit_age_s
        keep_from = self._base
        over = 0
        while self._segments:
            segment = self._segments[0]
            if segment is self._open or (self.size_bytes <= self.limit_bytes and segment.opened_at_s > oldest_s):
                break
            following = segment.start + segment.count
            if needed is not None and needed < following:
                over = following
                break
            self._segments.popleft()
            keep_from = following
            self._forget(segment, keep_from)
        if keep_from > self._base:
            del self._changes[: keep_from - self._base]
            self._base = keep_from
        while self._marks and self._marks[0][0] <= self._base:
            self.confirmable = max(self.confirmable, self._marks.popleft()[1])
        return over

    def give_up(self) -> None:
        """Drop everything but the transaction that is being received: all that may be confirmed is confirmable then."""
        limit, self.limit_bytes = self.limit_bytes, -1
        self.trim(0)
        self.limit_bytes = limit

    def changes_from(self, number: int, count: int) -> Sequence[Change]:
        """Return at most `count` changes from `number` on; fewer at the end.

        Raises:
            LookupError: That change is no longer held.
        """
        if number < self._base:
            raise LookupError(f"change {number} is gone; the oldest held is {self._base}")
        at = number - self._base
        return self._changes[at : at + count]

    def change(self, number: int) -> Change:
        """Return the change with a number; it must be held."""
        return self._changes[number - self._base]

    def number_after(self, commit_lsn: int, index: int) -> int | None:
        """Return the number of the first change after a position; None if some of what follows it is gone."""
        if (commit_lsn, index) < self.floor:
            return None
        at = bisect_right(self._changes, (commit_lsn, index), key=_order_of)
        return self._base + at

    def number_at_time(self, committed_us: int) -> int | None:
        """Return the number of the first change committed at or after a time; None if such changes may be gone.

        Commit times need not ascend in commit order: what follows the first match counts as after it.
        """
        if self.floor_us is not None:
            if committed_us // 1000 == self.floor_us // 1000 and self._floor_changes == 1:
                # Clients know times to the millisecond: this is the time of the last change that is gone, and no other
                # one of that millisecond is. Who names it has had it.
                return self._base
            if committed_us <= self.floor_us:
                return None
        elif not self._segments or self._segments[0].transaction.committed_us > committed_us:
            # Nobody knows when the last transaction before the window was committed.
            return None
        for segment in self._segments:
            if segment.latest_us >= committed_us:
                return segment.start
        return self.end

    def first_unseen(self, snapshot: Snapshot) -> int:
        """Return the number of the first change whose transaction a snapshot does not see; `end` if it sees all.

        A commit can be flushed, and decoded, before any snapshot sees it (synchronous replication).
        """
        first = self.end
        for running in snapshot.in_progress:
            first = min(first, self._begun_by_xid.get(running & _XID_MASK, first))
        for segment in reversed(self._segments):
            if _is_older_xid(segment.newest_xid, snapshot.xmax & _XID_MASK):
                break
            if not snapshot.sees(segment.transaction.xid):
                first = min(first, segment.start)
        return first

    def place_before(self, number: int) -> tuple[int, int]:
        """Return (commit LSN, index) of the last change before the one with a number; the floor if that is gone."""
        at = number - 1 - self._base
        return _order_of(self._changes[at]) if at >= 0 else self.floor

    def oldest(self) -> tuple[int, int]:
        """Return (commit LSN, index) of the oldest position from which everything can be had."""
        if self._changes:
            return _order_of(self._changes[0])
        return self.floor

    def _begin_segment(self, transaction: Transaction, now_s: float) -> Segment:
        self._close_segment()
        before = self._segments[-1] if self._segments else None
        segment = Segment(self.end, transaction, now_s, before)
        self._begun_by_xid.setdefault(transaction.xid, segment.start)
        self._segments.append(segment)
        self._open = segment
        return segment

    def _close_segment(self) -> None:
        if self._open is not None:
            self._closed_bytes += self._open.size_bytes
            self._open = None

    def _forget(self, segment: Segment, keep_from: int) -> None:
        self._closed_bytes -= segment.size_bytes
        last = self._changes[keep_from - self._base - 1]
        self.floor = _order_of(last)
        committed_us = segment.transaction.committed_us
        if self.floor_us is None or committed_us // 1000 > self.floor_us // 1000:
            self._floor_changes = 0
        if self.floor_us is None or committed_us // 1000 >= self.floor_us // 1000:
            self._floor_changes += segment.count
        self.floor_us = max(self.floor_us or 0, committed_us)
        if segment.end_lsn:
            self.confirmable = max(self.confirmable, segment.end_lsn)
        xid = segment.transaction.xid
        if self._begun_by_xid.get(xid, keep_from) < keep_from:
            following = self._segments[0] if self._segments else None
            if following is not None and following.transaction.commit_lsn == segment.transaction.commit_lsn:
                self._begun_by_xid[xid] = following.start
            else:
                del self._begun_by_xid[xid]


def _order_of(change: Change) -> tuple[int, int]:
    return change.transaction.commit_lsn, change.index


def _is_older_xid(one: int, other: int) -> bool:
    """Compare 32-bit transaction ids as Postgres does: modulo 2**32, the nearer way round."""
    return (other - one) & _XID_MASK in range(1, _XID_HALF)
