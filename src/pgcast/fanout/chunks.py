"""Stretches of the window as ready frames, for those who read it one after the other and would get the same."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames of some changes.

    Attributes:
        pieces: What to write, in order; none where nobody wants the changes.
        end: The number, in the window, of the first change behind them.
    """

    pieces: tuple[bytes, ...]
    end: int


class Chunks:
    """The last chunks.

    Args:
        max_bytes: For all of them together.
    """

    __slots__ = ("_bytes", "_chunks", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._chunks: OrderedDict[Hashable, Chunk] = OrderedDict()

    def get(self, place: Hashable) -> Chunk | None:
        """Return the chunk that begins at a place."""
        return self._chunks.get(place)

    def keep(self, place: Hashable, chunk: Chunk) -> None:
        """Keep a chunk; it replaces one of the same place."""
        before = self._chunks.pop(place, None)
        self._bytes += _size(chunk) - (0 if before is None else _size(before))
        self._chunks[place] = chunk
        while self._bytes > self._max_bytes:
            _, oldest = self._chunks.popitem(last=False)
            self._bytes -= _size(oldest)


def _size(chunk: Chunk) -> int:
    # What Python needs for it beside the bytes.
    return 500 + sum(map(len, chunk.pieces))
