"""A loop whose time stands still until a test moves it: timers fire in order, and no test sleeps."""

from __future__ import annotations

import asyncio

import pytest

_TURNS = 10


class Clock:
    """The running loop's time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now_s = 1000.0
        loop.time = lambda: self.now_s  # type: ignore[method-assign]

    async def settle(self) -> None:
        """Let everything run that needs no time."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float, *, step_s: float = 0.05) -> None:
        """Let time pass, in steps so small that timers set by timers fire, too."""
        ends_s = self.now_s + seconds
        while self.now_s < ends_s:
            self.now_s = min(self.now_s + step_s, ends_s)
            await self.settle()


@pytest.fixture
async def clock() -> Clock:
    return Clock(asyncio.get_running_loop())
