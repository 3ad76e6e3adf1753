"""Which records of the recent transactions were taken over: what was missing of a stretch that is read a second time.

A stream that is opened anew may bring more of the same transactions than before (engine/partitions.py says when). The
records come in the same order, by LSN, so what was taken over is found again by walking along it: each row's envelope
carries the LSN of its WAL record. Rows written by one record (COPY) share it, and are of one table.

This memory is for the last seconds; it is bounded, and what it has forgotten is not read again.

Source: PostgreSQL, chapter "Streaming Replication Protocol" (XLogData).
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING

from pgcast.model.lsn import NO_LSN

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.model.lsn import Lsn

MAX_RECORDS = 1_000_000
"""Eight bytes each. Over it the oldest transactions are forgotten, and at last the one that is open."""

# w | start of the WAL data: 8 | end of WAL on the server: 8 | time: 8 | message
_read_lsn: Callable[[bytes, int], tuple[int]] = struct.Struct(">Q").unpack_from


class _Transaction:
    """One transaction: its id, where its commit ends (0 until that is known), and its records taken over, in order."""

    __slots__ = ("end_lsn", "records", "xid")

    def __init__(self, xid: int) -> None:
        self.xid = xid
        self.end_lsn = NO_LSN
        self.records = array("Q")


class Taken:
    """The recent transactions, by commit LSN.

    Args:
        max_records: How many records are remembered, in all.
    """

    __slots__ = ("_at", "_before", "_count", "_max_records", "_open", "_transactions")

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._max_records = max_records
        self._transactions: dict[Lsn, _Transaction] = {}
        self._open: _Transaction | None = None
        self._before = array("Q")  # what was taken over of the open transaction when it was read before
        self._at = 0
        self._count = 0

    def begin(self, xid: int, commit_lsn: Lsn) -> bool:
        """A transaction begins; say whether it has been read before, as far as is remembered."""
        known = self._transactions.get(commit_lsn)
        self._open = _Transaction(xid)
        self._before, self._at = array("Q"), 0
        if known is not None:
            self._before = known.records
            self._open.end_lsn = known.end_lsn
        self._transactions[commit_lsn] = self._open
        return known is not None

    # fast path: per change, on the versions that need it
    def is_repeat(self, envelope: bytes) -> bool:
        """Note a change of the open transaction; say whether it was taken over when this stretch was read before."""
        transaction = self._open
        if transaction is None:
            return False
        (lsn,) = _read_lsn(envelope, 1)
        transaction.records.append(lsn)
        before = self._before
        while self._at < len(before) and before[self._at] <= lsn:
            self._at += 1
            if before[self._at - 1] == lsn:
                return True
        self._count += 1
        if self._count > self._max_records:
            self._make_room()
        return False

    def commit(self, end_lsn: Lsn) -> None:
        """The open transaction is complete."""
        if self._open is not None:
            self._open.end_lsn = end_lsn
        self.break_off()

    def break_off(self) -> None:
        """The stream broke, perhaps inside a transaction: what is left of its first reading still counts."""
        if self._open is not None:
            self._open.records.extend(self._before[self._at :])
        self._open = None

    def end_of(self, xid: int) -> Lsn:
        """Return where the commit of a transaction ends that is remembered and complete; else 0."""
        return max((one.end_lsn for one in self._transactions.values() if one.xid == xid), default=NO_LSN)

    def forget(self, lsn: Lsn) -> None:
        """Forget the transactions that end at or below `lsn`."""
        for commit_lsn, transaction in list(self._transactions.items()):
            if transaction is self._open or not NO_LSN < transaction.end_lsn <= lsn:
                break
            self._drop(commit_lsn)

    def _make_room(self) -> None:
        for commit_lsn, transaction in list(self._transactions.items()):
            if self._count <= self._max_records // 2:
                return
            if transaction is not self._open:
                self._drop(commit_lsn)
            elif self._at == len(self._before):
                self._drop(commit_lsn)
                self._open = None

    def _drop(self, commit_lsn: Lsn) -> None:
        self._count -= len(self._transactions.pop(commit_lsn).records)
