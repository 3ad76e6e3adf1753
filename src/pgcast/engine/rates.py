"""How often something may happen, as an average over the last minute: a burst is fine, a flood is not.

The average is over twelve buckets of five seconds, and is acted on when it reaches the limit, as clients of the
realtime protocol know it. What is refused does not count: so who comes back later is let in.
"""

from __future__ import annotations

from collections import deque
from typing import Final

BUCKET_S: Final = 5.0
BUCKETS: Final = 12


class Rate:
    """Counts over the last minute.

    Args:
        per_s: The average that must not be reached; 0 for no limit.

    Attributes:
        refused: How often `take` said no.
    """

    __slots__ = ("_buckets", "_limit", "_total", "refused")

    def __init__(self, per_s: float) -> None:
        self._limit = per_s * BUCKET_S * BUCKETS
        self._buckets: deque[tuple[int, int]] = deque()
        self._total = 0
        self.refused = 0

    def has_room(self, now_s: float) -> bool:
        """Say whether one more may happen now, without counting it."""
        bucket = int(now_s // BUCKET_S)
        while self._buckets and self._buckets[0][0] <= bucket - BUCKETS:
            self._total -= self._buckets.popleft()[1]
        return not self._limit or self._total < self._limit

    def take(self, now_s: float) -> bool:
        """Count one that happens now; False if it must not happen."""
        if not self._limit:
            return True
        if not self.has_room(now_s):
            self.refused += 1
            return False
        bucket = int(now_s // BUCKET_S)
        if self._buckets and self._buckets[-1][0] == bucket:
            self._buckets[-1] = (bucket, self._buckets[-1][1] + 1)
        else:
            self._buckets.append((bucket, 1))
        self._total += 1
        return True
