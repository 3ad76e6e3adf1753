"""Listeners of one room that get the same frames: one kind of message, one serializer.

What is published becomes a part of the pending tick. A listener that is not to get all of it (its own broadcasts, or
what was published before it came) has ranges of bytes left out; everybody else shares one join of the whole tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pgcast.fanout.ring import Ring
from pgcast.fanout.tick import gather, without

if TYPE_CHECKING:
    from pgcast.engine.groups import Member
    from pgcast.engine.ports import Outlet
    from pgcast.fanout.ring import RingBudget
    from pgcast.frames.codec import Serializer

Ranges: TypeAlias = "list[tuple[int, int]]"

CATCH_UP_BYTES = 256 * 1024


class Listener:
    """One channel's place in an audience.

    Attributes:
        outlet: Where its frames go.
        audience: Whose frames it gets.
        cursor: The next tick it needs from the audience's ring, while it is behind.
        omitted: What is left out for it, by the number of the tick, while it is behind; None for nothing.
    """

    __slots__ = ("audience", "cursor", "omitted", "outlet")

    def __init__(self, outlet: Outlet, audience: Audience) -> None:
        self.outlet = outlet
        self.audience = audience
        self.cursor = 0
        self.omitted: dict[int, Ranges] | None = None

    def omit(self, number: int, ranges: Ranges) -> None:
        """Remember what is not for this listener of a tick that it takes later."""
        if self.omitted is None:
            self.omitted = {}
        self.omitted[number] = ranges


class Audience:
    """The listeners, their pending tick, and the ring for those who are behind.

    Args:
        serializer: What they speak.
        ring_bytes: The ring's limit.
        budget: The bound of all rings together.

    Attributes:
        level: Listeners that have everything up to the last tick.
        behind: Listeners that are served from the ring.
        pending: Whole frames, in order.
        pending_bytes: How long they are together.
        holds: Whether some of it came from the replication stream, whose reading may be held up for slow readers.
        is_exempt: Whether it has held the stream up for as long as it may, and nobody has been level since.
        is_stalled: Whether it held the stream up and nobody took anything, nor has since.
    """

    __slots__ = (
        "_budget",
        "_is_writing",
        "_omitted",
        "_ring",
        "_ring_bytes",
        "behind",
        "holds",
        "is_exempt",
        "is_stalled",
        "level",
        "pending",
        "pending_bytes",
        "serializer",
    )

    def __init__(self, serializer: Serializer, ring_bytes: int, budget: RingBudget) -> None:
        self.serializer = serializer
        self.level: dict[Listener, None] = {}
        self.behind: dict[Listener, None] = {}
        self.pending: list[bytes] = []
        self.pending_bytes = 0
        self.holds = False
        self.is_exempt = False
        self.is_stalled = False
        self._omitted: dict[Listener, Ranges] = {}
        self._ring: Ring | None = None  # made for the first listener that falls behind
        self._is_writing = False
        self._ring_bytes = ring_bytes
        self._budget = budget

    def __len__(self) -> int:
        return len(self.level) + len(self.behind)

    def __contains__(self, listener: Listener) -> bool:
        """Say whether it is one of the listeners: one that was cut off for being slow is none any more."""
        return listener in self.level or listener in self.behind

    @property
    def reading(self) -> tuple[Member, ...]:
        """Nobody: broadcasts are not in the window."""
        return ()

    def enter(self, outlet: Outlet) -> Listener:
        """Make a listener. It gets what is published from now on."""
        listener = Listener(outlet, self)
        self.level[listener] = None
        if self.pending_bytes:
            self._omitted[listener] = [(0, self.pending_bytes)]
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener; twice is safe."""
        self.level.pop(listener, None)
        self.behind.pop(listener, None)
        self._omitted.pop(listener, None)
        if not self.level and not self.behind:
            self.pending.clear()
            self.pending_bytes = 0
        self._drop_ring_if_done()

    # fast path: per message
    def add(self, frame: bytes, skip: Listener | None) -> None:
        """Append one frame to the pending tick; all but one listener get it."""
        start = self.pending_bytes
        self.pending.append(frame)
        self.pending_bytes = start + len(frame)
        if skip is not None:
            ranges = self._omitted.setdefault(skip, [])
            if ranges and ranges[-1][1] == start:
                start = ranges.pop()[0]
            ranges.append((start, self.pending_bytes))

    def take(self) -> Taken:
        """Join what is pending, once for everybody; it goes on the ring if somebody is behind."""
        taken = Taken(self, gather(self.pending), self._omitted)
        self._is_writing = True
        self.pending.clear()
        self.pending_bytes = 0
        self._omitted = {}
        self.holds = False
        if self._ring is not None:
            taken.number = self._put_on_ring(taken)
            for listener, ranges in taken.omitted.items():
                if listener in self.behind:
                    listener.omit(taken.number, ranges)
        return taken

    def park(self, listener: Listener, taken: Taken) -> None:
        """Leave a listener behind that does not take this tick: its cursor stands on it."""
        if self._ring is None:
            self._ring = Ring(self._ring_bytes, self._budget)
        if taken.number is None:
            taken.number = self._put_on_ring(taken)
        del self.level[listener]
        self.behind[listener] = None
        listener.cursor = taken.number
        ranges = taken.omitted.get(listener)
        if ranges is not None:
            listener.omit(taken.number, ranges)

    def next_pieces(self, listener: Listener) -> tuple[bytes, ...] | None:
        """Take some of what a listener has missed off the ring, and advance it.

        Returns:
            Together whole frames, none where all of them are left out for it; None once it has everything and is level.

        Raises:
            LookupError: The ring has passed it.
        """
        ticks = [] if self._ring is None else self._ring.since(listener.cursor, CATCH_UP_BYTES)
        if not ticks:
            del self.behind[listener]
            self.level[listener] = None
            listener.omitted = None
            self._drop_ring_if_done()
            return None
        listener.cursor = ticks[-1].number + 1
        omitted = listener.omitted or {}
        pieces: list[bytes] = []
        for tick in ticks:
            ranges = omitted.pop(tick.number, None)
            pieces += tick.pieces if ranges is None else without(tick.pieces, ranges)
        return gather(pieces)

    def has_lost(self, listener: Listener) -> bool:
        """Say whether a listener is behind and the ring has passed it."""
        return listener in self.behind and (self._ring is None or not self._ring.holds(listener.cursor))

    def written(self) -> None:
        """Note that the tick that was taken last has been written to all its listeners, or they are behind."""
        self._is_writing = False
        self._drop_ring_if_done()

    def _drop_ring_if_done(self) -> None:
        """Give the ring up when nobody is behind, nor can come to be behind with the tick that is being written."""
        if self._ring is not None and not self.behind and not self._is_writing:
            self._ring.clear()
            self._ring = None

    def _put_on_ring(self, taken: Taken) -> int:
        assert self._ring is not None  # noqa: S101 - both callers have made it
        return self._ring.append(taken.pieces, 0, 0).number


class Taken:
    """One tick of one audience, while it is written.

    Attributes:
        audience: Whose.
        pieces: Together whole frames; each is one write.
        omitted: What is left out for some listeners.
        listeners: Those that were level when it was made.
        holds: Whether some of it came from the replication stream.
        number: Its number on the ring; None while it is not there.
    """

    __slots__ = ("audience", "holds", "listeners", "number", "omitted", "pieces")

    def __init__(self, audience: Audience, pieces: tuple[bytes, ...], omitted: dict[Listener, Ranges]) -> None:
        self.audience = audience
        self.pieces = pieces
        self.omitted = omitted
        self.listeners = list(audience.level)
        self.holds = audience.holds
        self.number: int | None = None

    def pieces_for(self, listener: Listener) -> tuple[bytes, ...]:
        """Return what one listener gets of it."""
        ranges = self.omitted.get(listener)
        return self.pieces if ranges is None else without(self.pieces, ranges)
