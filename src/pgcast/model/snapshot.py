"""What one moment of the database could see: which transactions are before a join, and which come after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgcast.model.errors import WireError
from pgcast.model.lsn import parse_lsn

if TYPE_CHECKING:
    from pgcast.model.lsn import Lsn

_HALF = 1 << 31
_EPOCH = 1 << 32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pg_current_snapshot()` and the WAL's insert position, read in one statement.

    Attributes:
        xmin: All transactions below it (64 bit) are finished, and visible if they committed.
        xmax: None from it on is visible.
        in_progress: Those between that were running.
        insert_lsn: `pg_current_wal_insert_lsn()`: all that the snapshot sees has committed below it.
    """

    xmin: int
    xmax: int
    in_progress: frozenset[int]
    insert_lsn: Lsn

    def sees(self, xid: int) -> bool:
        """Say whether a committed transaction was visible.

        Args:
            xid: The 32 bits that a Begin message carries; its epoch is the one nearest to the snapshot.
        """
        full = (self.xmax & ~(_EPOCH - 1)) | xid
        if full - self.xmax >= _HALF:
            full -= _EPOCH
        elif self.xmax - full > _HALF:
            full += _EPOCH
        return full < self.xmin or (full < self.xmax and full not in self.in_progress)


def parse_snapshot(snapshot: str, insert_lsn: str) -> Snapshot:
    """Read `xmin:xmax:xip,xip` as Postgres prints it, and an LSN.

    Source: PostgreSQL, chapter "System Information Functions and Operators", table "Snapshot Components".

    Raises:
        WireError: One of the two texts is something else.
    """
    try:
        xmin, xmax, running = snapshot.split(":")
        in_progress = frozenset(int(xid) for xid in running.split(",") if xid)
        return Snapshot(int(xmin), int(xmax), in_progress, parse_lsn(insert_lsn))
    except ValueError:
        raise WireError(f"not a snapshot: {snapshot[:60]!r}", hint="a snapshot looks like 10:20:10,14,15") from None
