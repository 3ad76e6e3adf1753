"""When a tick ends, in which slices it is written, and how those who fell behind are served from the ring.

A tick ends at once when nothing was written in the last milliseconds, otherwise a while after the previous flush
*ended*: half as long as that flush took, so that under load writing takes two thirds of a core at most and many changes
share one write per socket. A large tick does not wait: its writes cost no less later. A flush of many sockets is cut
into slices, so that reads, heartbeats and HTTP run in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from pgcast.engine.groups import Reading
from pgcast.fanout.tick import gather

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pgcast.engine.groups import Group, Member
    from pgcast.engine.hold import Hold
    from pgcast.engine.ports import Outlet
    from pgcast.engine.resume import Readers
    from pgcast.fanout.tick import Tick
    from pgcast.fanout.window import Window

_SLICE_SOCKETS = 1000
_CATCH_UP_BYTES = 256 * 1024
_LARGE_TICK_BYTES = 32_000
_LEAST_GAP_S = 0.0005

Job: TypeAlias = "tuple[Group, Tick, list[Member]]"


class Flusher:
    """Writes the groups' ticks.

    Args:
        window: Asked where it ends, for those who will read on from there.
        readers: Served first at each tick.
        hold: Told which groups have nobody level.
        gap_s: How long after the end of a flush the next one may have to wait, at most.
    """

    def __init__(self, window: Window, readers: Readers, hold: Hold, *, gap_s: float) -> None:
        self._window = window
        self._readers = readers
        self._hold = hold
        self._gap_s = gap_s
        self._dirty: list[Group] = []
        self._timer: asyncio.TimerHandle | None = None
        self._slices: Generator[None] | None = None
        self._began_at_s = 0.0
        self._due_at_s = 0.0
        self.pending_bytes = 0
        self.ticks = 0
        self.writes = 0

    def note_dirty(self, group: Group) -> None:
        """Remember a group whose pending tick has just got its first frame."""
        self._dirty.append(group)

    def flush_when_due(self) -> None:
        """End the tick now, or at the time when it may end; after each batch of changes."""
        if not self._dirty or self._slices is not None:
            return
        loop = asyncio.get_running_loop()
        if self.pending_bytes >= _LARGE_TICK_BYTES or loop.time() >= self._due_at_s:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_at(self._due_at_s, self._flush)

    def flush_now(self) -> None:
        """End the tick now: it has grown large enough. Nothing happens while one is being written."""
        if self._dirty and self._slices is None:
            self._flush()

    @property
    def is_writing(self) -> bool:
        """Whether a flush is between two of its slices."""
        return self._slices is not None

    # fast path: per tick
    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._began_at_s = asyncio.get_running_loop().time()
        window_end = self._window.end
        jobs = [(group, group.take_tick(window_end), list(group.level)) for group in self._dirty if group.pending]
        self._dirty.clear()
        self.pending_bytes = 0
        # With nothing pending anywhere, those who have read the window to its end become level here.
        if len(self._readers):
            self._readers.serve()
        self._slices = self._write(jobs)
        self._next_slice()

    def _next_slice(self) -> None:
        if self._slices is None:
            return
        try:
            next(self._slices)
        except StopIteration:
            self._slices = None
            self.ticks += 1
            now_s = asyncio.get_running_loop().time()
            self._due_at_s = now_s + min(max((now_s - self._began_at_s) / 2, _LEAST_GAP_S), self._gap_s)
            self.flush_when_due()
        except BaseException:
            # It cannot be taken up again; without this nothing would be flushed any more, by an otherwise sound server.
            self._slices = None
            raise
        else:
            asyncio.get_running_loop().call_soon(self._next_slice)

    def _write(self, jobs: list[Job]) -> Generator[None]:
        """Write each tick to the members that were level when it was made; yield between slices."""
        shared: dict[Outlet, list[bytes]] = {}
        left = _SLICE_SOCKETS
        for group, tick, members in jobs:
            first, *more = tick.pieces
            for member in members:
                outlet = member.outlet
                if member not in group.level:
                    continue  # left since the last slice
                if outlet.is_paused:
                    self._park(member, tick)
                elif outlet.members == 1:
                    outlet.write(first)
                    for piece in more:
                        outlet.write(piece)
                else:
                    shared.setdefault(outlet, []).extend(tick.pieces)
                left -= 1
                if left <= 0:
                    left = _SLICE_SOCKETS
                    yield
            self.writes += len(members)
        for outlet, pieces in shared.items():
            for piece in gather(pieces):
                outlet.write(piece)
        self._settle(group for group, _, _ in jobs)

    def _settle(self, groups: Iterable[Group]) -> None:
        """After a flush: nobody behind, no ring; nobody level, a reason to hold."""
        for group in groups:
            if not group.behind:
                group.ring.clear()
            elif not group.level:
                self._hold.begin(group)

    def _park(self, member: Member, tick: Tick) -> None:
        """Leave a member behind that does not take this tick: its cursor stands on it."""
        group = member.group
        del group.level[member]
        group.behind[member] = None
        member.cursor = tick.number
        member.window_at = tick.window_start

    def serve_behind(self, member: Member) -> None:
        """Write what a member has missed, from its group's ring, as far as it takes it."""
        group = member.group
        ring = group.ring
        while not member.outlet.is_paused:
            if not ring.holds(member.cursor):
                del group.behind[member]
                self._readers.start(member, Reading(member.window_at))
                return
            ticks = ring.since(member.cursor, _CATCH_UP_BYTES)
            if not ticks:
                del group.behind[member]
                self.make_level(member)
                return
            member.cursor = ticks[-1].number + 1
            following = ring.since(member.cursor, 0)
            member.window_at = following[0].window_start if following else ticks[-1].window_end
            for piece in gather(piece for tick in ticks for piece in tick.pieces):
                member.outlet.write(piece)

    def make_level(self, member: Member) -> None:
        """Let a member share its group's ticks from now on."""
        group = member.group
        group.level[member] = None
        self._hold.release(group)
        if not group.behind and not self.is_writing:
            group.ring.clear()
