"""One committed change, and the transaction around it.

These two are made once per change on the fast path, so they are plain slotted classes without validation.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgcast.model.lsn import Lsn
    from pgcast.model.relation import Table


class Kind(Enum):
    """What happened to the row, as clients spell it."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    TRUNCATE = "TRUNCATE"

    # Members are looked up per change, and the enum's own hash is a Python function.
    __hash__ = object.__hash__


class Absent:
    """The type of ABSENT."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Stands for a value that the WAL did not carry: unchanged TOAST, or a column outside the identity. Not NULL."""

Values = tuple[bytes | Absent | None, ...]
"""A row's values in the relation's column order: Postgres' UTF-8 text, None for NULL, ABSENT for what was not sent."""


class Transaction:
    """A committed transaction.

    Attributes:
        xid: The 32-bit transaction id of the Begin message.
        commit_lsn: The commit record's LSN (Begin's final LSN): the order of transactions, and half a position.
        committed_us: The commit time, microseconds since 1970-01-01 UTC.
        timestamp: The commit time as clients read it: `2026-01-02T03:04:05.678Z`, UTC, milliseconds.
        position_prefix: The positions of its changes without the index: `<epoch>-<commit LSN>-`.
    """

    __slots__ = ("commit_lsn", "committed_us", "position_prefix", "timestamp", "xid")

    def __init__(self, xid: int, commit_lsn: Lsn, committed_us: int, timestamp: bytes, position_prefix: bytes) -> None:
        self.xid = xid
        self.commit_lsn = commit_lsn
        self.committed_us = committed_us
        self.timestamp = timestamp
        self.position_prefix = position_prefix


class Change:
    """One committed row change (or TRUNCATE of one table), its rows already rendered as JSON.

    Attributes:
        table: The table, as it was announced before this change.
        kind: What happened.
        record: The new row as a JSON object; None for DELETE and TRUNCATE.
        old_record: What is known of the old row as a JSON object (protocol: the identity's columns); None for INSERT
            and TRUNCATE.
        values: The new row's values; None for DELETE and TRUNCATE.
        old_values: The old row's values, ABSENT where the identity does not cover a column; None for INSERT, TRUNCATE.
        transaction: Set by the pipeline before anyone else sees the change.
        index: Its number within the transaction, from 0; set with `transaction`.
    """

    __slots__ = ("index", "kind", "old_record", "old_values", "record", "table", "transaction", "values")

    transaction: Transaction
    index: int

    def __init__(
        self,
        table: Table,
        kind: Kind,
        record: bytes | None,
        old_record: bytes | None,
        values: Values | None,
        old_values: Values | None,
    ) -> None:
        self.table = table
        self.kind = kind
        self.record = record
        self.old_record = old_record
        self.values = values
        self.old_values = old_values
