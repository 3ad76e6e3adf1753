"""Something that many want done, again and again, and that once every few milliseconds is enough for all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pulse:
    """Does it at once where that may be, otherwise as soon as it may be.

    Args:
        act: Does it.
        gap_s: From one time to the next, at the least.
    """

    def __init__(self, act: Callable[[], None], gap_s: float) -> None:
        self._act = act
        self._gap_s = gap_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._last_s = float("-inf")

    def want(self) -> None:
        """Have it done once more after this call began, however many call."""
        if self._timer is not None:
            return
        due_in_s = self._last_s + self._gap_s - self._loop.time()
        if due_in_s > 0:
            self._timer = self._loop.call_later(due_in_s, self._beat)
        else:
            self._beat()

    def _beat(self) -> None:
        self._timer = None
        self._last_s = self._loop.time()
        self._act()
