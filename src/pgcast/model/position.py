"""Where a change stands in the history of one database, as one sortable string.

`<epoch>-<commit LSN>-<index>`, hexadecimal, 8, 16 and 8 digits: `5f0c2a9e-000000000a3b4c58-0000002a`. The index counts
the changes of the transaction from 0. Positions of one epoch sort as strings in commit order; the epoch is a hash of
the cluster's system identifier and the database, so a restored or another database has another one.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from pgcast.model.errors import BindingError
from pgcast.model.lsn import Lsn

_POSITION = re.compile(r"([0-9a-f]{8})-([0-9a-f]{16})-([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """One change of one transaction of one database."""

    epoch: str
    commit_lsn: Lsn
    index: int

    def __str__(self) -> str:
        """The form that clients see and send back."""
        return f"{self.epoch}-{self.commit_lsn:016x}-{self.index:08x}"


def parse_position(text: str) -> Position:
    """Read what `str(Position)` prints.

    Raises:
        BindingError: The text is no position.
    """
    match = _POSITION.fullmatch(text)
    if match is None:
        raise BindingError(f"not a position: {text[:60]!r}")
    return Position(match[1], Lsn(int(match[2], 16)), int(match[3], 16))


def epoch_of(system_identifier: str, database: str) -> str:
    """Return the epoch, 8 hexadecimal digits, of one database of one cluster.

    Args:
        system_identifier: As IDENTIFY_SYSTEM prints it.
        database: The database's OID or name; whatever is given, give always the same.
    """
    return f"{zlib.crc32(f'{system_identifier}/{database}'.encode()):08x}"
