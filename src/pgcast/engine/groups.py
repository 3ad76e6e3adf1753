"""Members that share every frame: same topic, serializer and bindings, so same bytes.

A group is formed when a client joins and found by its signature, never searched for per change. Here the pure pieces
meet: what the index matched becomes a payload, the payload a frame, the frame a part of the group's pending tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgcast.fanout.tick import LARGE_BYTES, gather
from pgcast.frames.websocket import frame_header
from pgcast.matching.conditions import conditions_in
from pgcast.model.lsn import NO_LSN, Lsn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgcast.engine.ports import FrameText, Outlet
    from pgcast.fanout.ring import Ring
    from pgcast.fanout.tick import Tick
    from pgcast.matching.index import Entry
    from pgcast.matching.scan import Scan
    from pgcast.model.change import Change, Kind

    Rule = Callable[[Change], bool]


@dataclass(frozen=True, slots=True)
class Signature:
    """What members must have in common to share frames.

    Attributes:
        version: The serializer's.
        topic: The full topic.
        entries: The bindings, as the index takes them.
        is_legacy: Whether changes go out flat, in the oldest protocol's shape.
        role: The database role whose privileges count; None where nothing authenticates clients.
        max_bytes: What they take: a larger message comes short; 0 for no limit.
    """

    version: str
    topic: str
    entries: tuple[Entry, ...]
    is_legacy: bool
    role: str | None = None
    max_bytes: int = 0


class Member:
    """One joined channel of one connection.

    Attributes:
        outlet: Where its frames go.
        group: Whose frames it gets.
        cursor: The next tick it needs from the group's ring, while it is behind.
        window_at: The number of the first change of the window that it has not got, while it is behind.
        reading: What it still takes from the window alone; None while it is level or behind.
    """

    __slots__ = ("cursor", "group", "outlet", "reading", "window_at")

    def __init__(self, outlet: Outlet, group: Group) -> None:
        self.outlet = outlet
        self.group = group
        self.cursor = 0
        self.window_at = 0
        self.reading: Reading | None = None


class Reading:
    """A member's way through the window.

    Attributes:
        at: The number of the next change to look at.
        rules: For some entries' ids, which of the changes of the past they want; the others want all.
        until: Not level before the stream has passed this LSN.
        sees_all: Whether a rule has to see every change, because it learns from those that nobody wants.
    """

    __slots__ = ("at", "rules", "sees_all", "until")

    def __init__(
        self,
        at: int,
        rules: Mapping[int, Rule] | None = None,
        until: Lsn = NO_LSN,
        *,
        sees_all: bool = False,
    ) -> None:
        self.at = at
        self.rules = rules
        self.until = until
        self.sees_all = sees_all

    def again_from(self, number: int) -> Reading:
        """Return a way under the same rules that begins at another change."""
        return Reading(number, self.rules, self.until, sees_all=self.sees_all)


class Group:
    """The members of one signature, their pending tick, and the ring for those who are behind.

    Attributes:
        level: Members that have everything up to the last tick; each tick is written to them.
        behind: Members that are served from the ring.
        reading: Members that are served from the window.
        pending: The parts of the frames of the tick that is being collected.
        pending_from: The number, in the window, of the first change of that tick.
        role: The database role whose privileges count; None where nothing authenticates clients.
        selects: The columns that each binding selects, by its id; None where none selects any.
        has_one_view: Whether a change is one message for all its bindings, in today's protocol.
        asks: Whether some filter needs answers of Postgres': then all members read the window, and none is ever level.
        concerned_at: Where it asks: the number, in the window, of the last change that may concern it.
        has_idle: Whether some member that reads the window may have come past that change.
        scan: What tests changes for members that read the window; made by the first of them.
        is_exempt: Whether it has held the stream up for as long as it may, and nobody has been level since.
        is_stalled: Whether it held the stream up and nobody took anything, nor has since.
    """

    __slots__ = (
        "_has_large",
        "_parts",
        "asks",
        "behind",
        "concerned_at",
        "has_idle",
        "has_one_view",
        "is_exempt",
        "is_legacy",
        "is_stalled",
        "level",
        "pending",
        "pending_from",
        "reading",
        "ring",
        "role",
        "scan",
        "selects",
        "serializer",
        "signature",
    )

    def __init__(self, signature: Signature, serializer: FrameText, ring: Ring) -> None:
        self.signature = signature
        self.is_legacy = signature.is_legacy
        self.role = signature.role
        self.serializer = serializer
        selects = {entry.id: entry.select for entry in signature.entries if entry.select}
        self.selects: dict[int, tuple[str, ...]] | None = selects or None
        self.has_one_view = not selects and not signature.is_legacy and not signature.max_bytes
        self.asks = any(entry.asks for entry in signature.entries)
        self.concerned_at = _ANY_NUMBER  # until who makes the group knows better
        self.has_idle = True
        self.scan: Scan | None = None
        self.level: dict[Member, None] = {}
        self.behind: dict[Member, None] = {}
        self.reading: dict[Member, None] = {}
        self.ring = ring
        self.pending: list[bytes] = []
        self.pending_from = 0
        self.is_exempt = False
        self.is_stalled = False
        self._has_large = False
        self._parts: dict[tuple[int, ...] | Kind, tuple[bytes, bytes]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether the last member has left."""
        return not (self.level or self.behind or self.reading)

    # fast path: per change that concerns a group that asks
    def note_concern(self, number: int) -> None:
        """Note that a change may concern it; those who had read past the last such change may pass over all between."""
        if self.has_idle:
            for member in self.reading:
                if member.reading is not None and member.reading.at > self.concerned_at:
                    member.reading.at = number
            self.has_idle = False
        self.concerned_at = number

    def concerned(self, change: Change) -> tuple[int, ...]:
        """Return the ids of the bindings to the change's table and kind, whatever their filters say."""
        return tuple(dict.fromkeys(e.id for e in self.signature.entries if e.concerns(change.table, change.kind)))

    def unguessed(self, ids: tuple[int, ...], columns: frozenset[str] | None) -> tuple[int, ...]:
        """Return those of some ids whose filters test no column but these: a match tells about the row."""
        if columns is None:
            return ids
        hidden = {
            entry.id
            for entry in self.signature.entries
            if any(condition.column not in columns for condition in conditions_in(entry.conditions))
        }
        return tuple(one for one in ids if one not in hidden) if hidden else ids

    # fast path: per change and matching group
    def add(self, key: tuple[int, ...] | Kind, data: bytes) -> int:
        """Append one change's frame to the pending tick.

        Args:
            key: The ids of the bindings that match; in the oldest protocol, the kind of change.
            data: The change's payload, in the group's shape.

        Returns:
            The frame's size in bytes, its header left out.
        """
        prefix, suffix = self._parts.get(key) or self._make_parts(key)
        length = len(prefix) + len(data) + len(suffix)
        self.pending += (frame_header(length), prefix, data, suffix)
        if length >= LARGE_BYTES:
            self._has_large = True
        return length

    def frame(self, key: tuple[int, ...] | Kind, data: bytes) -> tuple[bytes, ...]:
        """Return the parts of one change's frame, for a member that is served alone."""
        prefix, suffix = self._parts.get(key) or self._make_parts(key)
        return frame_header(len(prefix) + len(data) + len(suffix)), prefix, data, suffix

    def is_too_large(self, key: tuple[int, ...] | Kind, data: bytes) -> bool:
        """Say whether one change's message is larger than its members take."""
        limit = self.signature.max_bytes
        return limit > 0 and sum(map(len, self._parts.get(key) or self._make_parts(key)), len(data)) > limit

    def take_tick(self, window_end: int) -> Tick:
        """Join what is pending, once for everybody, and put it on the ring."""
        pieces = gather(self.pending) if self._has_large else (b"".join(self.pending),)
        self._has_large = False
        self.pending.clear()
        return self.ring.append(pieces, self.pending_from, window_end)

    def _make_parts(self, key: tuple[int, ...] | Kind) -> tuple[bytes, bytes]:
        if len(self._parts) >= _MAX_PARTS:
            self._parts.clear()
        topic = self.signature.topic
        if isinstance(key, tuple):
            parts = self.serializer.change_parts(topic, key)
        else:
            parts = self.serializer.legacy_parts(topic, key.value)
        self._parts[key] = parts
        return parts


_ANY_NUMBER = 1 << 62

# A channel of n bindings has up to 2**n sets of ids.
_MAX_PARTS = 1000
