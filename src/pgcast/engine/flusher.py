"""How the ticks of changes are written, and how those who fell behind are served from the ring."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pgcast.engine.groups import Reading
from pgcast.engine.pace import BROKE_OFF, LARGE_TICK_BYTES, SLICE_SOCKETS, Pace
from pgcast.fanout.tick import gather

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pgcast.engine.groups import Group, Member
    from pgcast.engine.hold import Hold
    from pgcast.engine.ports import Outlet
    from pgcast.engine.resume import Readers
    from pgcast.fanout.tick import Tick
    from pgcast.fanout.window import Window

_CATCH_UP_BYTES = 256 * 1024

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
        self._pace = Pace(self._flush, gap_s=gap_s)
        self._dirty: list[Group] = []
        self.pending_bytes = 0
        self.ticks = 0
        self.writes = 0

    def note_dirty(self, group: Group) -> None:
        """Remember a group whose pending tick has just got its first frame."""
        self._dirty.append(group)

    def flush_when_due(self) -> None:
        """End the tick now, or at the time when it may end; after each batch of changes."""
        if self._dirty:
            self._pace.want_now(at_once=self.pending_bytes >= LARGE_TICK_BYTES)

    def flush_now(self) -> None:
        """End the tick now: it has grown large enough. Nothing happens while one is being written."""
        if self._dirty:
            self._pace.flush_now()

    @property
    def is_writing(self) -> bool:
        """Whether a flush is between two of its slices."""
        return self._pace.is_writing

    # fast path: per tick
    def _flush(self) -> Generator[None]:
        window_end = self._window.end
        jobs = [(group, group.take_tick(window_end), list(group.level)) for group in self._dirty if group.pending]
        self._dirty.clear()
        self.pending_bytes = 0
        # With nothing pending anywhere, those who have read the window to its end become level here.
        if len(self._readers):
            self._readers.serve()
        try:
            yield from self._write(jobs)
        except Exception:
            for _, _, members in jobs:
                for member in members:
                    member.outlet.close(*BROKE_OFF)
            raise
        self.ticks += 1

    def _write(self, jobs: list[Job]) -> Generator[None]:
        """Write each tick to the members that were level when it was made; yield between slices."""
        shared: dict[Outlet, list[tuple[Member, Tick]]] = {}
        left = SLICE_SOCKETS
        for group, tick, members in jobs:
            first, *more = tick.pieces
            for member in members:
                outlet = member.outlet
                if outlet.members > 1:
                    shared.setdefault(outlet, []).append((member, tick))
                elif member not in group.level:
                    continue  # left since the last slice
                elif outlet.is_paused:
                    self._park(member, tick)
                else:
                    outlet.write(first)
                    for piece in more:
                        outlet.write(piece)
                left -= 1
                if left <= 0:
                    left = SLICE_SOCKETS
                    yield
            self.writes += len(members)
        for outlet, parts in shared.items():
            self._write_together(outlet, parts)
            left -= 1
            if left <= 0:
                left = SLICE_SOCKETS
                yield
        self._settle(group for group, _, _ in jobs)

    def _write_together(self, outlet: Outlet, parts: list[tuple[Member, Tick]]) -> None:
        """Write the ticks of several channels at once, of those that have not left since the last slice."""
        pieces: list[bytes] = []
        for member, tick in parts:
            if member not in member.group.level:
                continue
            if outlet.is_paused:
                self._park(member, tick)
            else:
                pieces += tick.pieces
        for piece in gather(pieces):
            outlet.write(piece)

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
