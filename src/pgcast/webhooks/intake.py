"""What one endpoint gets of the stream: changes become deliveries, which wait in memory until the spool has them.

One delivery per transaction, of the changes that match; a transaction larger than a body may be becomes several. As
long as something is only in memory, the slot is held back, so that a crash brings it again.

When the spool cannot be written, memory is soon full. From then on changes are skipped, and stay in the WAL, where a
restart finds them; only when that holds back more WAL than the spool may take is it given up, and counted as lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import BindingError
from pgcast.model.position import parse_position
from pgcast.webhooks.signing import delivery_id
from pgcast.webhooks.spool import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgcast.matching.index import Entry
    from pgcast.model.change import Change, Transaction
    from pgcast.model.lsn import Lsn

BUFFER_BYTES: Final = 8 << 20
"""What may wait in memory for one endpoint's spool."""

_BATCH_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Ready:
    """A delivery that waits in memory, its transaction's commit LSN, and the number of its history."""

    draft: Draft
    commit_lsn: Lsn
    history: int


class Intake:
    """The sink of one endpoint.

    Args:
        key: The endpoint's.
        entries: What it wants.
        render: Returns the JSON of a change.
        max_bytes: How long a body may be; a single change may be longer.
        buffer_bytes: What may wait in memory.

    Attributes:
        entries: What it wants.
        is_in_trouble: Whether the spool cannot be written: reading the WAL does not wait for it then.
        pending_bytes: What waits in memory.
        news: Set when there is something for the spool.
        skipped: How many changes stay in the WAL until a restart.
        history: The number of the history that the changes belong to; 0 if it is not known.
    """

    def __init__(
        self,
        key: str,
        entries: Sequence[Entry],
        render: Callable[[Change], bytes],
        *,
        max_bytes: int,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self.entries = entries
        self.is_in_trouble = False
        self.pending_bytes = 0
        self.news = asyncio.Event()
        self.skipped = 0
        self.history = 0
        self._key = key
        self._render = render
        self._max_bytes = max_bytes
        self._buffer_bytes = buffer_bytes
        self._floor: tuple[bytes, int, int] | None = None
        self._ready: deque[_Ready] = deque()
        self._transaction: Transaction | None = None  # of the changes in _parts
        self._parts: list[bytes] = []
        self._size = 0
        self._indices = (0, 0)  # of the first and the last change in _parts
        self._skipped_from: Lsn | None = None

    def know_place(self, history: int, position: str) -> None:
        """Take what lies at or before a position for repeats: an earlier run has put it into the spool."""
        self.history = history
        try:
            known = parse_position(position)
        except BindingError:
            self._floor = None
        else:
            self._floor = (known.epoch.encode(), known.commit_lsn, known.index)

    def is_ahead_of(self, lsn: Lsn) -> bool:
        """Say whether an earlier run has put changes into the spool that commit beyond a place in the WAL."""
        return self._floor is not None and self._floor[1] > lsn

    # fast path: per change that matches
    def take(self, change: Change, ids: tuple[int, ...]) -> None:
        """Take a change over."""
        del ids
        transaction = change.transaction
        if self._floor is not None:
            if self._is_repeat(transaction, change.index, self._floor):
                return
            self._floor = None
        if self._skipped_from is not None or (self.is_in_trouble and self.pending_bytes > self._buffer_bytes):
            if self._skipped_from is None:
                self._skipped_from = transaction.commit_lsn
            self.skipped += 1
            return
        payload = self._render(change)
        if self._parts and (transaction is not self._transaction or self._size + len(payload) > self._max_bytes):
            self._finish()
        if not self._parts:
            self._indices = (change.index, change.index)
        self._transaction = transaction
        self._parts.append(payload)
        self._size += len(payload) + 1
        self._indices = (self._indices[0], change.index)
        self.pending_bytes += len(payload)

    def commit(self) -> None:
        """The transaction is complete."""
        self._finish()

    def break_off(self) -> None:
        """The stream broke; what is missing of the transaction makes a delivery of its own."""
        self._finish()

    def lost(self) -> None:
        """Forget which changes would be repeats: another history begins."""
        self._finish()
        self._floor = None
        self.history += 1

    @property
    def unsafe_from(self) -> Lsn | None:
        """The commit LSN of the oldest transaction of which something is not in the spool; None if all is."""
        if self._ready:
            return self._ready[0].commit_lsn
        if self._parts and self._transaction is not None:
            return self._transaction.commit_lsn
        return self._skipped_from

    @property
    def is_full(self) -> bool:
        """Whether reading the WAL waits until the spool has caught up; never while it cannot be written."""
        return self.pending_bytes > self._buffer_bytes and not self.is_in_trouble

    def batch(self) -> tuple[int, list[Draft]]:
        """Return the next deliveries for the spool, of one history, and its number; they stay until `stored`."""
        self.news.clear()
        drafts: list[Draft] = []
        size = 0
        first = self._ready[0].history if self._ready else self.history
        for ready in self._ready:
            if ready.history != first or size > _BATCH_BYTES:
                break
            drafts.append(ready.draft)
            size += len(ready.draft.body)
        return first, drafts

    def stored(self, drafts: Sequence[Draft]) -> None:
        """Forget the deliveries of a batch: they are in the spool."""
        for draft in drafts:
            if self._ready and self._ready[0].draft is draft:  # unless it was given up meanwhile
                self._ready.popleft()
                self.pending_bytes -= len(draft.body)
        if self._ready:
            self.news.set()

    def give_up(self) -> int:
        """Give up all that is not in the spool; return how many changes that were.

        What is being written at this moment may get there all the same.
        """
        self._finish()
        gone = self.skipped + sum(ready.draft.changes for ready in self._ready)
        self._ready.clear()
        self.pending_bytes = self.skipped = 0
        self._skipped_from = None
        return gone

    def _is_repeat(self, transaction: Transaction, index: int, floor: tuple[bytes, int, int]) -> bool:
        epoch, commit_lsn, last = floor
        return transaction.position_prefix[:8] == epoch and (transaction.commit_lsn, index) <= (commit_lsn, last)

    def _finish(self) -> None:
        transaction = self._transaction
        if not self._parts or transaction is None:
            return
        body = b'{"changes":[%b],"commit_timestamp":"%b"}' % (b",".join(self._parts), transaction.timestamp)
        first, last = (f"{transaction.position_prefix.decode()}{index:08x}" for index in self._indices)
        draft = Draft(delivery_id(self._key, self.history, first), first, last, len(self._parts), body)
        self._ready.append(_Ready(draft, transaction.commit_lsn, self.history))
        self.pending_bytes += len(body) - sum(map(len, self._parts))
        self._parts = []
        self._size = 0
        self.news.set()
