"""How long to wait before trying again: exponentially longer, never twice the same."""

from __future__ import annotations

import random


class Backoff:
    """Waits between `min_s` and `max_s`, doubling, each shortened by up to a half at random.

    Args:
        min_s: About the first wait.
        max_s: The longest wait.
    """

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._next_s = min_s

    def next_s(self) -> float:
        """Return how long to wait now."""
        wait_s = self._next_s
        self._next_s = min(self._next_s * 2, self._max_s)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries; nothing secret

    def reset(self) -> None:
        """Begin again with the shortest wait: it worked."""
        self._next_s = self._min_s
