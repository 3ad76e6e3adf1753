"""The place below which the slot brings nothing again, as one run knows it and the next one wants to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.engine.ports import StreamStart


@dataclass(frozen=True, slots=True)
class Floor:
    """The last change that the slot does not bring again, as the run that confirmed it knew.

    Attributes:
        epoch: Of the database.
        confirmed: The slot's confirmed position.
        commit_lsn: Of the last change before it, and
        index: its number in its transaction.
    """

    epoch: str
    confirmed: int
    commit_lsn: int
    index: int


def floor_of(known: Floor | None, start: StreamStart, epoch: str) -> tuple[int, int]:
    """Return from where on a stream will bring everything: what the last run let go of, if that is known.

    Args:
        known: What the last run left behind.
        start: The stream's.
        epoch: Of its database.
    """
    if known is not None and not start.slot_created and (known.epoch, known.confirmed) == (epoch, start.confirmed_lsn):
        return known.commit_lsn, known.index
    return start.confirmed_lsn, 0
