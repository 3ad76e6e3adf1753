"""Bursts slow the reading of the WAL; they do not cost the readers.

A transaction of a million rows outruns every client. When no member of a group is level any more and one of them still
takes bytes, reading pauses until the fastest is level again: the WAL on Postgres' disk is the spool. Slower than the
fastest is slow (that is for ring and window); a group in which nobody takes bytes is not waited for; and a pause is
bounded, so that one crawling client cannot hold up the others for long.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.engine.groups import Group

STALLED_S = 1.0
"""A group none of whose members took a byte for so long is not waited for."""

_LOOK_S = 0.05


class Hold:
    """Which groups hold the reading of the WAL up, and for how long they may.

    Args:
        limit_s: The longest pause at a stretch for one group.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._waits: dict[Group, _Wait] = {}
        self._changed = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether reading should pause."""
        return bool(self._waits)

    def consider(self, group: Group) -> None:
        """Hold for a group whose members have all fallen behind; after each of its ticks."""
        if group.behind and not group.level and not group.is_exempt and group not in self._waits:
            self._waits[group] = _Wait(group, asyncio.get_running_loop().time())

    def release(self, group: Group) -> None:
        """End the hold for a group: a member is level again, or the last one has gone."""
        group.is_exempt = False
        if self._waits.pop(group, None) is not None:
            self._changed.set()

    def let_go(self) -> None:
        """End all holds: there is nothing to read any more."""
        self._waits.clear()
        self._changed.set()

    async def wait(self) -> None:
        """Return when no group holds any more."""
        while self._waits:
            self._changed.clear()
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._changed.wait()
            except TimeoutError:
                self._give_up_where_due(asyncio.get_running_loop().time())

    def _give_up_where_due(self, now_s: float) -> None:
        for group, wait in list(self._waits.items()):
            wait.look(now_s)
            if now_s - wait.moved_at_s > STALLED_S or now_s - wait.began_at_s > self._limit_s:
                group.is_exempt = True
                del self._waits[group]


class _Wait:
    """One group's pause: since when, and when one of its members last took something."""

    __slots__ = ("_group", "_left", "began_at_s", "moved_at_s")

    def __init__(self, group: Group, now_s: float) -> None:
        self._group = group
        self.began_at_s = now_s
        self.moved_at_s = now_s
        self._left = self._measure()

    def look(self, now_s: float) -> None:
        left = self._measure()
        if left != self._left:
            self._left = left
            self.moved_at_s = now_s

    def _measure(self) -> list[tuple[int, int]]:
        return [(member.cursor, member.outlet.buffered_bytes()) for member in self._group.behind]
