"""How what is published in rooms gets to the sockets: gathered for a tick, joined once, written once to each.

A listener that does not take its tick is parked, and served from its audience's ring when it takes bytes again; when
the ring has passed it, its connection is closed with 1013, because a message that is not stored anywhere cannot be had
again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgcast.engine.pace import BROKE_OFF, LARGE_TICK_BYTES, SLICE_SOCKETS, Pace, load_of
from pgcast.fanout.tick import gather

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from pgcast.engine.audiences import Audience, Listener, Taken
    from pgcast.engine.hold import Hold
    from pgcast.engine.ports import Outlet

FELL_BEHIND = "too slow: messages you have not read are no longer held; reconnect"

_FULL_BYTES = 1 << 20


class Deliveries:
    """Writes what audiences have pending.

    Args:
        before_flush: Called at the beginning of each flush; what it appends is in it.
        gap_s: From the end of one flush to the next, at the earliest.
        hold: Told for whom the replication stream has to wait; None where nothing comes from it.

    Attributes:
        pending_bytes: What waits for the next flush.
        writes: How often a tick was written to a channel's socket.
        cut_off: How many connections were closed for being too slow.
    """

    def __init__(self, before_flush: Callable[[], None], *, gap_s: float, hold: Hold | None) -> None:
        self._before_flush = before_flush
        self._hold = hold
        self._pace = Pace(self._flush, gap_s=gap_s)
        self._dirty: dict[Audience, None] = {}
        self.pending_bytes = 0
        self.writes = 0
        self.cut_off = 0

    # fast path: per message
    def append(self, audience: Audience, frame: bytes, skip: Listener | None = None) -> None:
        """Make a frame part of an audience's pending tick; all but one listener get it. `want` a flush afterwards."""
        if not audience.pending:
            self._dirty[audience] = None
        audience.add(frame, skip)
        self.pending_bytes += len(frame)

    def want(self) -> None:
        """Flush as soon as that may be, and at once if much is pending."""
        self._pace.want(at_once=self.pending_bytes >= LARGE_TICK_BYTES)

    def flush_now(self) -> None:
        """Write what is pending in this very call, if nothing is being written."""
        self._pace.flush_now()

    @property
    def is_full(self) -> bool:
        """Whether whoever publishes in a loop should await `have_room` first."""
        return self.pending_bytes > _FULL_BYTES

    async def have_room(self) -> None:
        """Return when more may be published; other tasks get their turn meanwhile, and at least one."""
        await asyncio.sleep(0)
        while self.is_full:
            self._pace.flush_now()  # nothing while one is being written, slice by slice
            await asyncio.sleep(0)

    def forget(self, listener: Listener) -> None:
        """Take a listener out of its audience; twice is safe."""
        audience = listener.audience
        before = audience.pending_bytes
        audience.leave(listener)
        self.pending_bytes -= before - audience.pending_bytes
        if not len(audience):
            self._dirty.pop(audience, None)
        if not audience.behind:
            self._release(audience)

    def resumed(self, listener: Listener) -> None:
        """Serve what a listener has missed, as far as it takes it, now that it takes bytes again."""
        audience = listener.audience
        audience.is_stalled = False
        while listener in audience.behind and not listener.outlet.is_paused:
            if audience.has_lost(listener):
                self._cut_off(listener)
                return
            pieces = audience.next_pieces(listener)
            if pieces is None:
                self._release(audience)
            for piece in pieces or ():
                listener.outlet.write(piece)

    # fast path: per tick
    def _flush(self) -> Generator[None]:
        self._before_flush()
        taken = [audience.take() for audience in self._dirty if audience.pending]
        self._dirty.clear()
        self.pending_bytes = 0
        # With one audience, the usual case, each listener is an outlet of its own.
        try:
            yield from self._write_one(taken[0]) if len(taken) == 1 else self._write_many(taken)
        except Exception:
            for tick in taken:
                for listener in tick.listeners:
                    listener.outlet.close(*BROKE_OFF)
            raise
        for tick in taken:
            tick.audience.written()
            self._cut_off_lost(tick.audience)
            if self._hold is not None and tick.holds and tick.audience.behind and not tick.audience.level:
                self._hold.begin(tick.audience)

    def _write_one(self, tick: Taken) -> Generator[None]:
        left = SLICE_SOCKETS
        audience, omitted = tick.audience, tick.omitted
        first, *more = tick.pieces
        load = load_of(sum(map(len, tick.pieces)))
        for listener in tick.listeners:
            if listener not in audience.level:
                continue  # left since the last slice
            outlet = listener.outlet
            if outlet.is_paused:
                audience.park(listener, tick)
            elif listener in omitted:
                for piece in tick.pieces_for(listener):
                    outlet.write(piece)
            else:
                outlet.write(first)
                for piece in more:
                    outlet.write(piece)
            self.writes += 1
            left -= load
            if left <= 0:
                left = SLICE_SOCKETS
                yield

    def _write_many(self, taken: list[Taken]) -> Generator[None]:
        """Write the ticks of several audiences, with one write to each outlet."""
        left = SLICE_SOCKETS
        work: dict[Outlet, list[tuple[Listener, Taken]]] = {}
        loads: dict[Taken, int] = {}
        for tick in taken:
            loads[tick] = load_of(sum(map(len, tick.pieces)))
            for listener in tick.listeners:
                work.setdefault(listener.outlet, []).append((listener, tick))
        for outlet, parts in work.items():
            current = [(listener, tick) for listener, tick in parts if listener in tick.audience.level]
            if outlet.is_paused:
                for listener, tick in current:
                    tick.audience.park(listener, tick)
            elif len(current) == 1:
                for piece in current[0][1].pieces_for(current[0][0]):
                    outlet.write(piece)
            else:
                for piece in gather(piece for listener, tick in current for piece in tick.pieces_for(listener)):
                    outlet.write(piece)
            self.writes += 1
            left -= sum(loads[tick] for _, tick in parts)
            if left <= 0:
                left = SLICE_SOCKETS
                yield

    def _release(self, audience: Audience) -> None:
        """Let the stream go on that waited for somebody of this audience."""
        if self._hold is not None:
            self._hold.release(audience)

    def _cut_off_lost(self, audience: Audience) -> None:
        for listener in [listener for listener in audience.behind if audience.has_lost(listener)]:
            self._cut_off(listener)

    def _cut_off(self, listener: Listener) -> None:
        self.cut_off += 1
        self.forget(listener)
        listener.outlet.close(1013, FELL_BEHIND)
