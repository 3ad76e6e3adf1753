"""How much somebody did lately, on a clock that is passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

_BUCKETS: Final = 12
_BUCKET_S: Final = 5.0
_WINDOW_S: Final = _BUCKETS * _BUCKET_S


class Rate:
    """An average over the last minute, counted in 12 buckets of 5 seconds.

    Args:
        limit_per_s: From this average on there is too much.
    """

    __slots__ = ("_buckets", "_current", "_total", "limit_per_s")

    def __init__(self, limit_per_s: float) -> None:
        self.limit_per_s = limit_per_s
        self._buckets = [0] * _BUCKETS
        self._current = 0  # which bucket of time the last one counted in was
        self._total = 0

    def count(self, now_s: float, amount: int = 1) -> bool:
        """Count something.

        Args:
            now_s: The time, which never goes back.
            amount: How much of it.

        Returns:
            Whether the average has reached the limit.
        """
        self._advance(now_s)
        self._buckets[self._current % _BUCKETS] += amount
        self._total += amount
        return self.is_reached

    @property
    def is_reached(self) -> bool:
        """Whether the average had reached the limit when something was last counted or looked at."""
        return self._total >= self.limit_per_s * _WINDOW_S

    def average(self, now_s: float) -> float:
        """Return how much there was per second."""
        self._advance(now_s)
        return self._total / _WINDOW_S

    def has_room(self, now_s: float, amount: int) -> bool:
        """Say whether so much more would stay under the limit."""
        self._advance(now_s)
        return self._total + amount < self.limit_per_s * _WINDOW_S

    def _advance(self, now_s: float) -> None:
        number = int(now_s / _BUCKET_S)
        for passed in range(max(self._current + 1, number - _BUCKETS + 1), number + 1):
            self._total -= self._buckets[passed % _BUCKETS]
            self._buckets[passed % _BUCKETS] = 0
        self._current = max(self._current, number)


class Calls:
    """So many calls within a span of time.

    Args:
        limit: How many; at least 1.
        span_s: The span.
    """

    __slots__ = ("_at_s", "_limit", "_span_s")

    def __init__(self, limit: int, span_s: float) -> None:
        self._limit = limit
        self._span_s = span_s
        self._at_s: deque[float] = deque(maxlen=limit)

    def count(self, now_s: float) -> bool:
        """Count a call; say whether it is one too many."""
        at_s = self._at_s
        is_too_many = len(at_s) == self._limit and now_s - at_s[0] < self._span_s
        at_s.append(now_s)
        return is_too_many
