"""One connected client: its session's effects performed, its joins decided, its memberships kept.

The socket hands in what arrives and offers an outlet; the session says what to do; here it is done. A join that needs
the database is decided in a task of its own, with a deadline, so that it delays nothing but its own topic.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from pgcast.channels.channel import State
from pgcast.channels.effects import Ask, Close, Enter, Join, Leave, Publish, Regrant, Renew, Send, Track, Untrack
from pgcast.channels.session import Outcome
from pgcast.engine.entrance import Entrance
from pgcast.engine.groups import Reading, Signature
from pgcast.engine.joins import entries_of, legacy_entries_of, note_on, parse_since, start_of
from pgcast.engine.pace import BROKE_OFF
from pgcast.engine.privileges import Narrowed
from pgcast.engine.receipts import Receipts
from pgcast.engine.rooms import RoomKey
from pgcast.engine.standing import Standing
from pgcast.logs import get_logger
from pgcast.model.errors import BindingError, DatabaseError, TokenError
from pgcast.model.lsn import Lsn
from pgcast.model.position import Position

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pgcast.channels.channel import Channel
    from pgcast.channels.effects import Effect, RoomEffect
    from pgcast.channels.rates import Rate
    from pgcast.channels.rights import Rights
    from pgcast.channels.session import Session
    from pgcast.engine.acknowledged import Identity, Memory
    from pgcast.engine.authorization import Authorization
    from pgcast.engine.dropped import Dropped
    from pgcast.engine.expiry import Expiries
    from pgcast.engine.groups import Member
    from pgcast.engine.hub import Hub
    from pgcast.engine.pipeline import Pipeline
    from pgcast.engine.ports import Catalog, Outlet
    from pgcast.engine.replay import Replays
    from pgcast.engine.rooms import Member as Seat
    from pgcast.engine.rooms import Rooms
    from pgcast.engine.snapshots import Snapshots
    from pgcast.engine.standing import Expiring
    from pgcast.frames.codec import Serializer
    from pgcast.matching.index import Entry
    from pgcast.model.claims import Claims
    from pgcast.model.snapshot import Snapshot

log = get_logger(__name__)

JOIN_S = 4.0
"""Clients give up on a join after 10 s; a reply without the database's word is better than none."""

TOO_MANY_JOINS = "Too many joins per second"

UNREAD = "too slow: replies you have not read pile up; reconnect"

# Answers come in bursts that no client has read yet: a hundred joins at once, a replay. So much unread is no fault, but
# neither for long nor without end.
UNREAD_S = 10.0
_MUCH_UNREAD_BYTES = 4 << 20
_MAX_UNREAD_BYTES = 32 << 20

LIMITED_BYTES = 1 << 20
"""The largest message for a client to which one was too large: what Python's clients take."""

_TOO_LARGE = 1009
_RETRY_S = 2.0
_FLUSH_S = 0.005


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every client of a node shares."""

    hub: Hub
    rooms: Rooms
    catalog: Catalog
    snapshots: Snapshots
    pipeline: Pipeline
    memory: Memory
    replays: Replays
    authorization: Authorization
    expiries: Expiries[Expiring]
    joins: Rate
    limited: Counter[str]
    dropped: Dropped
    clock: Callable[[], float]  # asking asyncio for the loop each time costs a system call on Python 3.11


class Client:
    """One connection's conversation.

    Args:
        session: Its protocol state.
        serializer: What it speaks.
        outlet: Where its frames go.
        around: What it shares with the others.
        identity: Who it says it is; None where it does not.
        claims: Who it is, as its handshake's token says; None where nothing authenticates clients.
        headers: Of its handshake, those that policies can read.
        when_gone: Called once the connection has ended.
    """

    def __init__(
        self,
        session: Session,
        serializer: Serializer,
        outlet: Outlet,
        around: Surroundings,
        *,
        identity: Identity | None,
        claims: Claims | None = None,
        headers: Mapping[str, str] | None = None,
        when_gone: Callable[[Client], None],
    ) -> None:
        self.session = session
        self._serializer = serializer
        self._outlet = outlet
        self._around = around
        self._identity = identity
        self._when_gone = when_gone
        self._standing = Standing(
            session,
            around.authorization,
            around.expiries,
            claims=claims,
            headers=headers or {},
            perform=self._perform,
            rebind=self._rebind,
        )
        self._max_bytes = LIMITED_BYTES if around.memory.acknowledged.is_limited(identity) else 0
        self._receipts = (
            None if identity is None else Receipts(identity, outlet, around.hub, around.pipeline, around.memory)
        )
        self._members: dict[Channel, Member] = {}
        self._seats: dict[Channel, Seat] = {}
        self._entrance = Entrance(
            session,
            serializer,
            replays=around.replays,
            pipeline=around.pipeline,
            perform=self._perform,
            write=self._send,
        )
        self._deciding: dict[Channel, asyncio.Task[None]] = {}
        self._unread_since_s: float | None = None

    def receive_text(self, text: str | bytes) -> None:
        """Take a text message."""
        session = self.session
        self._perform(session.receive_text(text, self._around.clock()))
        if session.malformed or session.ignored:
            self._around.dropped.note(session)

    def receive_binary(self, data: bytes) -> None:
        """Take a binary message."""
        session = self.session
        self._perform(session.receive_binary(data, self._around.clock()))
        if session.malformed or session.ignored:
            self._around.dropped.note(session)

    def receive_pong(self, data: bytes) -> None:
        """Take a pong: the client has received everything that was written before the ping it answers."""
        if self._receipts is not None:
            self._receipts.take_pong(data)

    def ping_if_due(self) -> None:
        """Ask a client with an identity to acknowledge what was written to it since the last time; once a second."""
        if self._receipts is not None:
            self._receipts.ping_if_due(self._members)

    def resumed(self) -> None:
        """The outlet takes bytes again."""
        self._unread_since_s = None
        self._around.hub.resumed(self._outlet)
        self._around.rooms.resumed(list(self._seats.values()))

    def gone(self, code: int | None = None) -> None:
        """The connection has ended: leave everything. Twice is safe.

        Args:
            code: Of the client's close frame, if it has sent one.
        """
        if code == _TOO_LARGE:
            log.info("a message was too large for a client", comes_back=self._identity is not None)
        if self._identity is not None and (code == _TOO_LARGE or self._max_bytes):
            self._around.memory.acknowledged.limit(self._identity, self._around.clock())
        self._perform(self.session.close())
        self._around.hub.gone(self._outlet)
        self._when_gone(self)

    def disconnect(self) -> None:
        """Send the client away such that it comes back."""
        self._perform(self.session.disconnect())

    def break_off(self) -> None:
        """End the connection for a fault of ours; the client comes back."""
        self._outlet.close(*BROKE_OFF)

    def tell_gap(self) -> None:
        """Tell every channel that gets changes that some were lost."""
        for channel in list(self._members):
            self._perform(self.session.gap(channel, self._oldest()))

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect.frame)
            elif isinstance(effect, Join):
                self._join(effect.channel)
            elif isinstance(effect, Ask):
                self._standing.ask(effect.channel, effect.right)
            elif isinstance(effect, Renew):
                self._standing.renew(effect.channel, effect.token)
            elif isinstance(effect, Leave):
                self._leave(effect.channel)
            elif isinstance(effect, Close):
                self._outlet.close(effect.code, effect.reason)
            else:
                self._perform_in_room(effect)

    def _perform_in_room(self, effect: RoomEffect) -> None:
        channel = effect.channel
        rooms = self._around.rooms
        if isinstance(effect, Enter):
            key = RoomKey(channel.name, channel.is_private)
            may_read = channel.rights.read_broadcasts is True
            self._seats[channel] = rooms.enter(key, self._outlet, self._serializer, reads_broadcasts=may_read)
            self._standing.joined(channel)
            self._entrance.entered(channel)
            return
        seat = self._seats[channel]
        if isinstance(effect, Regrant):
            rooms.let_read_broadcasts(seat, is_allowed=channel.rights.read_broadcasts is True)
        elif isinstance(effect, Publish):
            rooms.publish(seat.room.key, effect.broadcast, skip=None if channel.gets_own else seat)
        elif isinstance(effect, Track):
            channel.presence_key = channel.presence_key or str(uuid4())
            rooms.track(seat, channel.presence_key, effect.members)
        elif isinstance(effect, Untrack):
            rooms.untrack(seat)
        else:
            self._perform(self.session.presence_state(channel, rooms.watch(seat)))

    def _send(self, frame: bytes) -> None:
        """Write a frame. Who asks more and more and does not read the answers is sent away."""
        if self._outlet.is_paused and self._leaves_unread():
            self._outlet.close(1013, UNREAD)
        else:
            self._outlet.write(frame)

    def _leaves_unread(self) -> bool:
        """Say whether the client has left much unread for a while, or more than may wait at all."""
        unread_bytes = self._outlet.buffered_bytes()
        if unread_bytes <= _MUCH_UNREAD_BYTES:
            self._unread_since_s = None
            return False
        now_s = self._around.clock()
        if self._unread_since_s is None:
            self._unread_since_s = now_s
        return unread_bytes > _MAX_UNREAD_BYTES or now_s - self._unread_since_s > UNREAD_S

    def _join(self, channel: Channel) -> None:
        if not self._may_join():
            self._refuse(channel, "ClientJoinRateLimitReached: " + TOO_MANY_JOINS)
            self._outlet.close(1013, TOO_MANY_JOINS)
            return
        try:
            is_known = self._standing.claim(channel)
        except TokenError as error:
            self._refuse(channel, error.reason)
            return
        if is_known and not channel.is_private and not _wants_changes(channel):
            self._perform(self.session.join_decided(channel, Outcome()))
            return
        task = asyncio.get_running_loop().create_task(self._decide(channel), name="join")
        self._deciding[channel] = task
        task.add_done_callback(lambda done: self._decided(channel, done))

    def _may_join(self) -> bool:
        """Count a join; say whether there were too many, of all clients together."""
        joins, now_s = self._around.joins, self._around.clock()
        if not joins.limit_per_s:
            return True
        if joins.has_room(now_s, 0):
            joins.count(now_s)
            return True
        self._around.limited["joins"] += 1
        return False

    def _refuse(self, channel: Channel, reason: str) -> None:
        self._perform(self.session.join_decided(channel, Outcome(refusal=reason)))

    def _decided(self, channel: Channel, task: asyncio.Task[None]) -> None:
        if self._deciding.get(channel) is task:
            del self._deciding[channel]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a join failed", exc_info=error)
            self._perform(self.session.broken(channel))

    def _leave(self, channel: Channel) -> None:
        task = self._deciding.pop(channel, None)
        if task is not None:
            task.cancel()
        self._standing.left(channel)
        self._entrance.left(channel)
        seat = self._seats.pop(channel, None)
        if seat is not None:
            self._around.rooms.leave(seat)
        self._unbind(channel)

    def _unbind(self, channel: Channel) -> None:
        """Deliver no changes to a channel any more; twice is safe."""
        member = self._members.pop(channel, None)
        if member is not None:
            self._around.hub.leave(member)
        if self._receipts is not None:
            self._receipts.left(channel)

    async def _decide(self, channel: Channel) -> None:
        """Check a join, take its snapshot, answer it, and begin to serve it."""
        joined_at = self._around.hub.window.end
        rights = await self._standing.rights(channel)
        if isinstance(rights, str):
            self._refuse(channel, rights)
            return
        if not _wants_changes(channel):
            await self._answer(channel, Outcome(rights=rights))
            return
        wait_s = channel.wait_ms / 1000 if channel.wants_wait else JOIN_S
        role = _role_of(channel)
        try:
            async with asyncio.timeout(wait_s):
                entries, snapshot, note = await self._ask(channel)
        except BindingError as error:
            await self._answer(channel, Outcome(error=error.message, rights=rights))
            return
        except (DatabaseError, TimeoutError) as error:
            await self._decide_later(channel, rights, joined_at, error)
            return
        await self._answer(channel, Outcome(note=note, rights=rights))
        # With the role that was asked about: a token that was held may have brought another one, see `_rebind`.
        self._begin(channel, entries, snapshot, joined_at, role)

    async def _decide_later(self, channel: Channel, rights: Rights, joined_at: int, error: Exception) -> None:
        """Answer a join whose bindings the database could not confirm in time, and go on asking."""
        log.warning("a join waits for the database", error=str(error) or "no answer in time")
        if channel.wants_wait:
            refusal = (
                f"PostgresChangesSubscribeTimeout: Timed out after {channel.wait_ms}ms waiting for the "
                "postgres_changes subscription"
            )
            self._refuse(channel, refusal)
            return
        await self._answer(channel, Outcome(is_live=False, rights=rights))
        while channel.state is State.JOINED:
            await asyncio.sleep(_RETRY_S)
            role = _role_of(channel)
            try:
                async with asyncio.timeout(JOIN_S):
                    entries, _, note = await self._ask(channel)
            except BindingError as binding_error:
                self._perform(self.session.system_error(channel, binding_error.message))
                return
            except (DatabaseError, TimeoutError):
                continue
            if role != _role_of(channel):
                continue  # a new token came meanwhile: its role has not been asked about
            # No snapshot was taken when it joined: it gets everything since then, more rather than less.
            self._begin(channel, entries, None, joined_at, role)
            self._perform(self.session.subscribed(channel, note))
            return

    async def _answer(self, channel: Channel, outcome: Outcome) -> None:
        """Accept a join, once what it wants of the past is there; nothing may come between the two."""
        reason = await self._entrance.prepare(channel, outcome.rights)
        if reason is not None:
            outcome = Outcome(refusal=reason)
        self._perform(self.session.join_decided(channel, outcome))

    async def _rebind(self, channel: Channel) -> None:
        """Serve a channel's bindings with the rights of its new token, from where it stands, and say so."""
        member = self._members.get(channel)
        if member is None:
            return
        note = None
        hub = self._around.hub
        if member.group.role != _role_of(channel):
            try:
                async with asyncio.timeout(JOIN_S):
                    entries, _, note = await self._ask(channel)
            except BindingError as error:
                self._unbind(channel)
                self._perform(self.session.system_error(channel, error.message))
                return
            except (DatabaseError, TimeoutError):
                self._perform(self.session.broken(channel))
                return
            number = await self._place_of(member)
            if self._members.get(channel) is not member:
                return
            signature = replace(member.group.signature, entries=entries, role=_role_of(channel))
            before = member.reading
            reading = Reading(number) if before is None else Reading(number, before.rules, before.until)
            hub.leave(member)
            self._members[channel] = hub.join(self._outlet, signature, self._serializer, reading)
        self._perform(self.session.subscribed(channel, note))

    async def _place_of(self, member: Member) -> int:
        """Return up to where a member has been served, once no flush is between two of its slices."""
        while True:
            number = self._around.hub.written_to(member)
            if number is not None:
                return number
            await asyncio.sleep(_FLUSH_S)

    async def _ask(self, channel: Channel) -> tuple[tuple[Entry, ...], Snapshot, str | None]:
        """Ask the database for all that a join needs: its entries, its snapshot, and what the client has to know.

        Raises:
            BindingError: The join cannot be served.
            DatabaseError: The database could not be asked.
        """
        around = self._around
        role = _role_of(channel)
        questions = around.catalog if role is None else Narrowed(around.catalog, around.pipeline.privileges, role)
        if channel.legacy_topic is not None:
            entries = await legacy_entries_of(channel.legacy_topic, questions, around.hub.served)
        else:
            for binding in channel.bindings:
                if binding.since is not None:
                    parse_since(binding.since)
            entries = await entries_of(channel.bindings, questions)
        note = await note_on(entries, questions)
        if self._identity is not None or any(binding.since is not None for binding in channel.bindings):
            await around.pipeline.opened.wait()
        return entries, await around.snapshots.take(), note

    def _begin(
        self,
        channel: Channel,
        entries: tuple[Entry, ...],
        snapshot: Snapshot | None,
        joined_at: int,
        role: str | None,
    ) -> None:
        if channel.state is not State.JOINED or not entries:
            return
        around = self._around
        known = None if self._receipts is None else self._receipts.known_position(channel)
        asked = _asked(channel, entries, known)
        start = start_of(asked, snapshot, around.hub.window, around.pipeline.epoch, joined_at)
        signature = Signature(
            self._serializer.version,
            channel.topic,
            entries,
            is_legacy=channel.legacy_topic is not None,
            role=role,
            max_bytes=self._max_bytes,
        )
        if self._receipts is not None:
            self._receipts.start(channel, start.reading.at)
        self._members[channel] = around.hub.join(self._outlet, signature, self._serializer, start.reading)
        if start.has_gap:
            self._perform(self.session.gap(channel, self._oldest()))
        around.pipeline.ask_for_progress()

    def _oldest(self) -> str:
        commit_lsn, index = self._around.hub.window.oldest()
        return str(Position(self._around.pipeline.epoch, Lsn(commit_lsn), index))


def _role_of(channel: Channel) -> str | None:
    """Return the role whose privileges count; None where nothing authenticates clients."""
    return None if channel.claims is None else channel.claims.role


def _wants_changes(channel: Channel) -> bool:
    return channel.legacy_topic is not None or bool(channel.bindings)


def _asked(channel: Channel, entries: Sequence[Entry], known: str | None) -> list[tuple[int, str | None]]:
    if channel.legacy_topic is not None:
        return [(entry.id, known) for entry in entries]
    return [(binding.id, binding.since or known) for binding in channel.bindings]
