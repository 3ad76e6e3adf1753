"""The window in stretches, in which those who read it look up what they may want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgcast.matching.stretch import MAX_CHANGES, Stretch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.fanout.window import Window
    from pgcast.model.change import Change

MAX_POSTINGS: Final = 2_000_000
"""Values noted for all stretches together, of 10 bytes each."""


class Stretches:
    """Made as they are read, each once, and kept for the next reader as long as the window holds their changes.

    Args:
        window: Whose changes.
        max_postings: How many values may be noted; over it all is forgotten.
    """

    def __init__(self, window: Window, max_postings: int = MAX_POSTINGS) -> None:
        self._window = window
        self._max_postings = max_postings
        self._stretches: dict[int, Stretch] = {}

    def __len__(self) -> int:
        return len(self._stretches)

    def at(self, number: int, *, readers: int) -> Stretch | None:
        """Return the stretch that a change is in; None where looking at the changes themselves costs less.

        Args:
            number: The change's; it must be held.
            readers: How many read the window: the newest stretch, which grows, is made for many of them alone.
        """
        place = number // MAX_CHANGES
        stretch = self._stretches.get(place)
        if stretch is not None and number < stretch.end:
            return stretch
        end = (place + 1) * MAX_CHANGES
        if end > self._window.end:
            end = self._window.end
            if (end - number) * readers < MAX_CHANGES:
                return None
        self._forget_some()
        first, changes = self._held(place * MAX_CHANGES, end)
        stretch = self._stretches[place] = Stretch(first, changes, self._held)
        return stretch

    def _held(self, first: int, end: int) -> tuple[int, Sequence[Change]]:
        first = max(first, self._window.start)
        return first, self._window.changes_from(first, end - first)

    def _forget_some(self) -> None:
        """Forget what the window has dropped; and everything, where that is too much."""
        oldest = self._window.start // MAX_CHANGES
        for place in [place for place in self._stretches if place < oldest]:
            del self._stretches[place]
        if sum(stretch.postings for stretch in self._stretches.values()) > self._max_postings:
            self._stretches.clear()
