"""When tokens expire: one coarse clock for all channels of a node, never a timer for each.

What expires within the same second is kept together, so that watching, forgetting and looking cost the same however
many there are.
"""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

Watched = TypeVar("Watched")


class Expiries(Generic[Watched]):
    """What is watched, by the second in which it expires. What is watched is hashable, and watched once at a time."""

    def __init__(self) -> None:
        self._by_second: dict[int, dict[Watched, None]] = {}
        self._seconds: list[int] = []  # a heap; a second whose last was forgotten is dropped when its turn comes
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
        if second is not None:
            # An empty second stays until its turn, so that it stands on the heap once.
            del self._by_second[second][watched]

    def take_expired(self, now: float, count: int) -> list[Watched]:
        """Return what has expired, of the oldest second first and `count` at most, and watch it no more."""
        expired: list[Watched] = []
        while self._seconds and self._seconds[0] <= now and len(expired) < count:
            same = self._by_second[self._seconds[0]]
            if same:
                watched, _ = same.popitem()
                del self._second_of[watched]
                expired.append(watched)
            else:
                del self._by_second[heapq.heappop(self._seconds)]
        return expired
