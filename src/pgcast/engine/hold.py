"""Bursts slow the reading of the WAL; they do not cost the readers.

A transaction of a million rows outruns every client. When no member of a group is level any more and one of them still
takes bytes, reading pauses until the fastest is level again: the WAL on Postgres' disk is the spool. Likewise when the
window would drop what a member reads that is the quickest of its group, or that waits for nobody but us: reading pauses
until it has half of the window behind it. Slower than the fastest is slow (that is for ring and window); a group in
which nobody takes bytes is not waited for until somebody does; and a pause is bounded, so that one crawling client
cannot hold up the others for long.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pgcast.engine.groups import Member
    from pgcast.engine.ports import Outlet


class Follower(Protocol):
    """Who is behind, and how far it has come."""

    cursor: int
    outlet: Outlet


class Waiting(Protocol):
    """What reading is held up for: a group of changes, or the audience of broadcasts from the database."""

    is_exempt: bool
    is_stalled: bool

    @property
    def behind(self) -> Iterable[Follower]:
        """Those that are served from the ring."""
        ...

    @property
    def reading(self) -> Collection[Member]:
        """Those that are served from the window."""
        ...


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
        self._waits: dict[Waiting, _Wait] = {}
        self._changed = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether reading should pause."""
        return bool(self._waits)

    def may_hold(self, group: Waiting) -> bool:
        """Say whether a group is waited for, should it come to that."""
        return not group.is_exempt and not group.is_stalled

    def begin(self, group: Waiting, until: int | None = None) -> None:
        """Hold for a group, if it may; nothing happens if it holds already.

        Args:
            group: The group; nobody in it is level, or the window would drop what one of them reads.
            until: For those who read the window: the number that releases them, see `passed`; None for the others.
        """
        if group not in self._waits and self.may_hold(group):
            self._waits[group] = _Wait(group, asyncio.get_running_loop().time(), until)

    def passed(self, group: Waiting, number: int) -> None:
        """Note how far those who read the window have come: the end of their hold, if that is far enough."""
        wait = self._waits.get(group)
        if wait is not None and wait.until is not None and number >= wait.until:
            del self._waits[group]
            self._changed.set()

    def groups(self) -> list[Waiting]:
        """Return the groups that hold now."""
        return list(self._waits)

    def release(self, group: Waiting) -> None:
        """End the hold for a group: a member is level again, or the last one has gone."""
        group.is_exempt = group.is_stalled = False
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
            group.is_stalled = now_s - wait.moved_at_s > STALLED_S
            group.is_exempt = now_s - wait.began_at_s > self._limit_s
            if not self.may_hold(group):
                del self._waits[group]


class _Wait:
    """One group's pause: since when, until when, and when one of its members last took something."""

    __slots__ = ("_group", "_left", "began_at_s", "moved_at_s", "until")

    def __init__(self, group: Waiting, now_s: float, until: int | None) -> None:
        self._group = group
        self.began_at_s = now_s
        self.moved_at_s = now_s
        self.until = until
        self._left = list(self._measure())

    def look(self, now_s: float) -> None:
        left = list(self._measure())
        if left != self._left:
            self._left = left
            self.moved_at_s = now_s

    def _measure(self) -> Iterator[tuple[int, int]]:
        for member in self._group.behind:
            yield member.cursor, member.outlet.buffered_bytes()
        for member in self._group.reading:
            yield member.reading.at if member.reading is not None else 0, member.outlet.buffered_bytes()
