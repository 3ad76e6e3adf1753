"""What one flush writes to one group: a few `bytes`, shared by all its readers.

Small frames are joined, because a write costs more than a copy. A large payload stays as it is: it belongs to all
groups that get it, and a copy for each would take their number times its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LARGE_BYTES = 64 * 1024
"""From this size on a copy costs more than a write of its own."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one flush writes to one group.

    Attributes:
        number: Its place in the group's sequence of ticks.
        pieces: Together whole WebSocket frames; each is one write. Nearly always one piece.
        size_bytes: How long the pieces are together.
        window_start: The number, in the window, of the first change in it.
        window_end: The window's end when it was made: ticks up to this one hold all that matched below.
    """

    number: int
    pieces: tuple[bytes, ...]
    size_bytes: int
    window_start: int
    window_end: int


def gather(parts: Iterable[bytes]) -> tuple[bytes, ...]:
    """Join neighbouring small parts, and leave large ones alone; in order."""
    pieces: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) < LARGE_BYTES:
            small.append(part)
            continue
        if small:
            pieces.append(b"".join(small))
            small.clear()
        pieces.append(part)
    if small:
        pieces.append(b"".join(small))
    return tuple(pieces)
