"""What a channel may do on its topic. Everything on a public one; on a private one what the database's policies say.

Rights to read are known when a join is answered. A right to write may not be asked yet: then it is asked at its first
use, and what the client sends on that topic meanwhile waits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final


class Right(Enum):
    """One right; the value is the name of its attribute in `Rights`."""

    READ_BROADCASTS = "read_broadcasts"
    WRITE_BROADCASTS = "write_broadcasts"
    READ_PRESENCE = "read_presence"
    WRITE_PRESENCE = "write_presence"


@dataclass(frozen=True, slots=True)
class Rights:
    """All rights of one channel, each True, False, or None while it has not been asked.

    Attributes:
        read_broadcasts: It receives broadcasts.
        write_broadcasts: It may send them.
        read_presence: It is told who is there.
        write_presence: It may tell that it is there.
    """

    read_broadcasts: bool | None = None
    write_broadcasts: bool | None = None
    read_presence: bool | None = None
    write_presence: bool | None = None

    def has(self, right: Right) -> bool | None:
        """Return one right."""
        found: bool | None = getattr(self, right.value)
        return found

    def decided(self, right: Right, *, is_allowed: bool) -> Rights:
        """Return these rights with one of them decided."""
        return replace(self, **{right.value: is_allowed})


EVERYTHING: Final = Rights(read_broadcasts=True, write_broadcasts=True, read_presence=True, write_presence=True)
"""The rights on a public topic."""
