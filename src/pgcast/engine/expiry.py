"""When tokens expire: one coarse clock for all channels of a node, never a timer for each.

What expires within the same second is kept together, so that watching, forgetting and looking cost the same however
many there are.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, Generic, TypeVar

Watched = TypeVar("Watched")


_SLACK: Final = 1000


class Expiries(Generic[Watched]):
    """What is watched, by the second in which it expires. What is watched is hashable, and watched once at a time."""

    def __init__(self) -> None:
        self._by_second: dict[int, dict[Watched, None]] = {}
        self._seconds: list[int] = []  # a heap; some of them may have nothing any more, or stand there twice
        self._second_of: dict[Watched, int] = {}

    def __len__(self) -> int:
        return len(self._second_of)

    def watch(self, watched: Watched, expires_at: float) -> None:
        """Watch until a time, seconds since 1970-01-01 UTC; infinity is never. A new time replaces the old one."""
        self.forget(watched)
        if not math.isfinite(expires_at):
            return
        second = math.ceil(expires_at)
        same = self._by_second.get(second)
        if same is None:
            same = self._by_second[second] = {}
            heapq.heappush(self._seconds, second)
        same[watched] = None
        self._second_of[watched] = second

    def forget(self, watched: Watched) -> None:
        """Watch no more; twice is safe."""
        second = self._second_of.pop(watched, None)
        if second is None:
            return
        same = self._by_second[second]
        del same[watched]
        if not same:
            del self._by_second[second]
            if len(self._seconds) > 2 * len(self._by_second) + _SLACK:
                self._seconds = sorted(self._by_second)  # which is a heap, too

    def take_expired(self, now: float) -> list[Watched]:
        """Return what has expired, the oldest first, and watch it no more."""
        expired: list[Watched] = []
        while self._seconds and self._seconds[0] <= now:
            expired += self._by_second.pop(heapq.heappop(self._seconds), ())
        for watched in expired:
            del self._second_of[watched]
        return expired
