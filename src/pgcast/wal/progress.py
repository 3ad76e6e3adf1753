"""Which LSN is received, which transaction is taken over, and what of a repeated stretch is to be skipped.

After a crash of Postgres, and below 17 after a clean restart too, the slot may stand before what was confirmed; a
connection that breaks inside a transaction brings the whole of it again. Repeats are known by (commit LSN, index).

What programs wrote with `pg_logical_emit_message` has no index, for clients know the changes' numbers. It is known by
its own LSN: within a transaction they ascend.
"""

from __future__ import annotations

from pgcast.model.lsn import NO_LSN, Lsn


class Progress:
    """The place in the replication stream.

    Attributes:
        received: The furthest WAL position heard of: what a status message reports as written.
        commit_lsn: The commit LSN of the transaction that is open, or was the last one.
        index: The number that the open transaction's next change has; counted up by whoever takes the changes.
        skip: Changes of the open transaction below this number have been taken over before.
        ended: The end LSN of the last complete transaction: where a new stream may start.
    """

    __slots__ = (
        "_done_index",
        "_done_lsn",
        "_last_loose",
        "_last_message",
        "_told",
        "commit_lsn",
        "ended",
        "index",
        "received",
        "skip",
    )

    def __init__(self) -> None:
        self.received = NO_LSN
        self.commit_lsn = NO_LSN
        self.index = 0
        self.skip = 0
        self.ended = NO_LSN
        # Of the transaction with this commit LSN, so many changes have been taken over; of later ones none.
        self._done_lsn = NO_LSN
        self._done_index = 0
        self._told: tuple[Lsn, int] = (NO_LSN, 0)  # changes before this place were taken over in another history
        # The last message of a transaction, by the commit's LSN and its own; and the last one outside of all.
        self._last_message = (NO_LSN, NO_LSN)
        self._last_loose = NO_LSN

    @property
    def furthest(self) -> Lsn:
        """Beyond all commits of which something has been taken over."""
        return max(self.ended, Lsn(self.commit_lsn + 1))

    def hear(self, lsn: Lsn) -> None:
        """Note a position that Postgres named."""
        self.received = max(self.received, lsn)

    def begin(self, commit_lsn: Lsn) -> None:
        """A transaction begins."""
        self.commit_lsn = commit_lsn
        self.index = 0
        if commit_lsn > self._done_lsn:
            self.skip = 0
        elif commit_lsn == self._done_lsn:
            self.skip = self._done_index
        else:
            self.skip = _ALL

    def begin_again(self) -> None:
        """A transaction begins that was read before: what is new of it is numbered on from the last change so far."""
        self.commit_lsn = self._done_lsn
        self.index = self._done_index
        self.skip = 0

    def take_message(self, lsn: Lsn, commit_lsn: Lsn | None) -> bool:
        """Take a message over; say whether it is news.

        Args:
            lsn: Where it stands in the WAL.
            commit_lsn: Of its transaction; None if it belongs to none: such messages come in the order of the WAL.
        """
        if commit_lsn is None:
            is_news = lsn > self._last_loose
            self._last_loose = max(self._last_loose, lsn)
            return is_news
        is_news = (commit_lsn, lsn) > self._last_message
        self._last_message = max(self._last_message, (commit_lsn, lsn))
        return is_news

    def commit(self, end_lsn: Lsn) -> bool:
        """The open transaction is complete; say whether that is news."""
        self._note_done()
        self.hear(end_lsn)
        is_news = end_lsn > self.ended
        self.ended = max(self.ended, end_lsn)
        return is_news

    def break_off(self) -> None:
        """The connection broke: an open transaction will come again from its beginning. Twice is safe."""
        self._note_done()

    @property
    def is_news(self) -> bool:
        """Whether the open transaction's next change has not been taken over, not even in another history."""
        return self.index >= self.skip and (self.commit_lsn, self.index) >= self._told

    def restart(self, shared: Lsn = NO_LSN) -> None:
        """Another history begins: of the changes that were taken over none counts any more.

        Clients are told of that, and know repeated changes by their positions. Broadcasts have none.

        Args:
            shared: What commits below this place was the same in the other history: broadcasts of it are not news.
        """
        self._told = min(max(self._told, (self._done_lsn, self._done_index)), (shared, 0))
        self.received = self.commit_lsn = self.ended = self._done_lsn = NO_LSN
        self.index = self.skip = self._done_index = 0
        self._last_message = min(self._last_message, (shared, NO_LSN))
        self._last_loose = min(self._last_loose, Lsn(max(shared - 1, NO_LSN)))

    def _note_done(self) -> None:
        if self.commit_lsn > self._done_lsn:
            self._done_lsn = self.commit_lsn
            self._done_index = self.index
        elif self.commit_lsn == self._done_lsn:
            self._done_index = max(self._done_index, self.index)


_ALL = 1 << 62
