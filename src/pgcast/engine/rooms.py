"""Who is on which topic, and how a message to a topic reaches all of them.

A room is a topic with one privacy: a public and a private one of the same name are two. What is published in it is
encoded once per serializer and handed to the deliveries, which write it. All of it costs in the number of this room's
members alone.
"""

from __future__ import annotations

import asyncio
import secrets
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from pgcast.channels.channel import TOPIC_PREFIX
from pgcast.channels.presence import Presences
from pgcast.engine.audiences import Audience
from pgcast.engine.deliveries import Deliveries
from pgcast.engine.pace import BROKE_OFF
from pgcast.frames.broadcast import frame_of
from pgcast.frames.message import Message
from pgcast.frames.websocket import text_frame
from pgcast.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgcast.engine.audiences import Listener
    from pgcast.engine.hold import Hold
    from pgcast.engine.ports import Outlet
    from pgcast.fanout.ring import RingBudget
    from pgcast.frames.broadcast import Broadcast
    from pgcast.frames.codec import Serializer

log = get_logger(__name__)

_SILENCE_S = 60.0


class RoomKey(NamedTuple):
    """What tells rooms apart.

    Attributes:
        topic: Without `realtime:`.
        is_private: Whether only those are in it whom the database's policies allow it.
    """

    topic: str
    is_private: bool


class Member:
    """One joined channel of one connection, in its room.

    Attributes:
        room: Where.
        outlet: Where its frames go.
        serializer: What it speaks.
        broadcasts: Its place among those that get broadcasts; None if it gets none.
        watching: Its place among those that are told who is there; None if it is not told.
        has_left: Whether it is no member any more.
    """

    __slots__ = ("broadcasts", "has_left", "outlet", "room", "serializer", "watching")

    def __init__(self, room: Room, outlet: Outlet, serializer: Serializer) -> None:
        self.room = room
        self.outlet = outlet
        self.serializer = serializer
        self.broadcasts: Listener | None = None
        self.watching: Listener | None = None
        self.has_left = False


class Room:
    """The members of one topic.

    Attributes:
        key: Which topic.
        topic: Its full name, as frames have it.
        broadcasts: Who gets broadcasts, by serializer.
        watching: Who is told who is there, by serializer.
        presences: Who is there; None while nobody has asked or told.
        member_count: How many channels are in it.
    """

    __slots__ = ("broadcasts", "key", "member_count", "presences", "topic", "watching")

    def __init__(self, key: RoomKey) -> None:
        self.key = key
        self.topic = TOPIC_PREFIX + key.topic
        self.broadcasts: dict[str, Audience] = {}
        self.watching: dict[str, Audience] = {}
        self.presences: Presences | None = None
        self.member_count = 0


class Rooms:
    """All rooms of the node. Everything in it happens on one event loop, and nothing in it waits.

    Args:
        ring_bytes: What is held for the slow readers of one room and serializer.
        budget: The bound of all rings together.
        gap_s: From the end of one flush to the next, at the earliest.
        hold: Told for whom the replication stream has to wait; None where nothing is published from it.

    Attributes:
        member_count: How many channels are joined.
        published: How many broadcasts were taken.
        differences: How often a room's members were told who came and went.
    """

    def __init__(self, ring_bytes: int, budget: RingBudget, *, gap_s: float, hold: Hold | None = None) -> None:
        self._ring_bytes = ring_bytes
        self._budget = budget
        self._rooms: dict[RoomKey, Room] = {}
        self._changed: dict[Room, None] = {}  # in whose presences something did
        self._ref_prefix = secrets.token_hex(4)
        self._refs = count()
        self._deliveries = Deliveries(self._tell_changes, gap_s=gap_s, hold=hold)
        self._silent_until_s = 0.0
        self.member_count = 0
        self.published = 0
        self.differences = 0

    def __len__(self) -> int:
        return len(self._rooms)

    # Who is there

    def enter(self, key: RoomKey, outlet: Outlet, serializer: Serializer, *, reads_broadcasts: bool = True) -> Member:
        """Make a member: it gets what is published from now on. To be called once its join has been answered."""
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = Room(key)
        member = Member(room, outlet, serializer)
        room.member_count += 1
        self.member_count += 1
        self.let_read_broadcasts(member, is_allowed=reads_broadcasts)
        return member

    def let_read_broadcasts(self, member: Member, *, is_allowed: bool) -> None:
        """Begin or cease to deliver broadcasts to a member."""
        if is_allowed and member.broadcasts is None:
            member.broadcasts = self._audience(member.room.broadcasts, member.serializer).enter(member.outlet)
        elif not is_allowed and member.broadcasts is not None:
            self._drop(member.room.broadcasts, member.broadcasts)
            member.broadcasts = None

    def leave(self, member: Member) -> None:
        """Forget a member; twice is safe."""
        if member.has_left:
            return
        member.has_left = True
        room = member.room
        self.let_read_broadcasts(member, is_allowed=False)
        self.unwatch(member)
        self.untrack(member)
        self.member_count -= 1
        room.member_count -= 1
        if not room.member_count:
            del self._rooms[room.key]
            self._changed.pop(room, None)

    # Who says to be there

    def watch(self, member: Member) -> tuple[bytes, ...]:
        """Begin to tell a member who is there: to be called at most once before `unwatch`.

        Returns:
            Who is there, as `Presences.state` says it: to be sent to it in this very turn of the loop. Each change
            after that follows.
        """
        room = member.room
        member.watching = self._audience(room.watching, member.serializer).enter(member.outlet)
        return self._presences(room).state()

    def unwatch(self, member: Member) -> None:
        """Cease to tell a member who is there; twice is safe."""
        if member.watching is not None:
            self._drop(member.room.watching, member.watching)
            member.watching = None

    def track(self, member: Member, key: str, members: bytes) -> None:
        """Make a member present, or change what it tells of itself; all who watch are told at the tick's end."""
        if self._presences(member.room).track(member, key, members):
            self._note_change(member.room)

    def untrack(self, member: Member) -> None:
        """Make a member absent; nothing happens if it is."""
        presences = member.room.presences
        if presences is not None and presences.untrack(member):
            self._note_change(member.room)

    @property
    def presence_count(self) -> int:
        """How many channels are present."""
        return sum(len(room.presences) for room in self._rooms.values() if room.presences is not None)

    # What is sent

    # fast path: per message
    def publish(self, key: RoomKey, broadcast: Broadcast, *, skip: Member | None = None, holds: bool = False) -> int:
        """Deliver a broadcast to all who are in a room now and may read it; in the order of these calls.

        Args:
            key: Which room. One that nobody is in is fine.
            broadcast: What is sent.
            skip: A member that does not get it: its sender.
            holds: It comes from the replication stream, whose reading shall pause, for a while at most, when nobody in
                the room keeps up: a burst in the database does not cost the readers. What clients send never does that.

        Returns:
            How many will get it, those included that the ring still serves.
        """
        self.published += 1
        room = self._rooms.get(key)
        if room is None:
            return 0
        skipped = skip.broadcasts if skip is not None else None
        receivers = 0
        for audience in room.broadcasts.values():
            mine = skipped if skipped is not None and skipped in audience else None
            count = len(audience) - (mine is not None)
            if not count:
                continue
            frame = frame_of(broadcast, room.topic, audience.serializer)
            if frame is None:
                self._note_undeliverable(audience)
                continue
            self._deliveries.append(audience, frame, mine)
            audience.holds = audience.holds or holds
            receivers += count
        if receivers:
            self._deliveries.want()
        return receivers

    def resumed(self, members: Iterable[Member]) -> None:
        """Serve what the members of one outlet missed, now that it takes bytes again."""
        for member in members:
            for listener in _listeners(member):
                self._deliveries.resumed(listener)

    # How it goes out

    @property
    def is_full(self) -> bool:
        """Whether whoever publishes in a loop should await `have_room` first."""
        return self._deliveries.is_full

    async def have_room(self) -> None:
        """Return when more may be published; other tasks get their turn meanwhile, and at least one."""
        await self._deliveries.have_room()

    def flush_now(self) -> None:
        """Write what is pending in this very call, if nothing is being written."""
        self._deliveries.flush_now()

    @property
    def pending_bytes(self) -> int:
        """What waits for the next flush."""
        return self._deliveries.pending_bytes

    @property
    def writes(self) -> int:
        """How often a tick was written to a channel's socket."""
        return self._deliveries.writes

    @property
    def cut_off(self) -> int:
        """How many connections were closed for being too slow."""
        return self._deliveries.cut_off

    # Inside

    def _presences(self, room: Room) -> Presences:
        if room.presences is None:
            room.presences = Presences(self._next_ref)
        return room.presences

    def _next_ref(self) -> str:
        return f"{self._ref_prefix}{next(self._refs):x}"

    def _note_change(self, room: Room) -> None:
        self._changed[room] = None
        self._deliveries.want()

    def _note_undeliverable(self, audience: Audience) -> None:
        """Say, now and then, that raw bytes were lost to those who could read them, for the length of a name."""
        now_s = asyncio.get_running_loop().time()
        if audience.serializer.has_binary and now_s >= self._silent_until_s:
            self._silent_until_s = now_s + _SILENCE_S
            log.warning(
                "a binary broadcast was not delivered: its topic or its event has more than 255 bytes",
                silent_for_s=_SILENCE_S,
            )

    def _tell_changes(self) -> None:
        """Turn what has changed in presences into messages to those who watch."""
        changed, self._changed = self._changed, {}
        for room in changed:
            try:
                self._tell_change(room)
            except Exception:
                # It would break off the flush, and with it what all other rooms were to get.
                log.exception("what has changed in a room could not be told")
                for audience in room.watching.values():
                    for listener in (*audience.level, *audience.behind):
                        listener.outlet.close(*BROKE_OFF)

    def _tell_change(self, room: Room) -> None:
        told = room.presences.take_difference() if room.presences is not None else []
        self.differences += bool(told)
        for difference in told:
            message = Message(None, None, room.topic, "presence_diff", difference)
            for audience in room.watching.values():
                self._deliveries.append(audience, text_frame(audience.serializer.encode(message)))

    def _audience(self, audiences: dict[str, Audience], serializer: Serializer) -> Audience:
        audience = audiences.get(serializer.version)
        if audience is None:
            audience = audiences[serializer.version] = Audience(serializer, self._ring_bytes, self._budget)
        return audience

    def _drop(self, audiences: dict[str, Audience], listener: Listener) -> None:
        audience = listener.audience
        self._deliveries.forget(listener)
        if not len(audience) and audiences.get(audience.serializer.version) is audience:
            del audiences[audience.serializer.version]


def _listeners(member: Member) -> Iterator[Listener]:
    if member.broadcasts is not None:
        yield member.broadcasts
    if member.watching is not None:
        yield member.watching
