"""What one flush writes to one group: a few `bytes`, shared by all its readers.

Small frames are joined, because a write costs more than a copy. A large payload stays as it is: it belongs to all
groups that get it, and a copy for each would take their number times its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def gather(parts: Iterable[bytes | memoryview]) -> tuple[bytes, ...]:
    """Join neighbouring small parts, and leave large ones alone; in order."""
    pieces: list[bytes] = []
    small: list[bytes | memoryview] = []
    for part in parts:
        if len(part) < LARGE_BYTES:
            small.append(part)
            continue
        if small:
            pieces.append(b"".join(small))
            small.clear()
        pieces.append(bytes(part))  # which is the part itself, unless it is a view
    if small:
        pieces.append(b"".join(small))
    return tuple(pieces)


def without(pieces: Iterable[bytes], left_out: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
    """Leave ranges out of a tick, for a reader that is not to get all of it.

    Args:
        pieces: The tick's.
        left_out: (start, end) of each range, counted over all pieces in bytes; ascending, without overlap.
    """
    kept: list[bytes | memoryview] = []
    start = 0
    for piece in pieces:
        end = start + len(piece)
        view = memoryview(piece)
        at = start
        for first, last in left_out:
            if last <= at or first >= end:
                continue
            if first > at:
                kept.append(view[at - start : first - start])
            at = min(last, end)
        if at < end:
            kept.append(piece if at == start else view[at - start :])
        start = end
    return gather(kept)
