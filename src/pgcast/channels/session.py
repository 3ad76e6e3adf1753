"""The conversation with one client: its messages in, effects out.

A session knows no socket, no database and no clock. Its owner hands it what arrives, performs the effects it returns,
in order, and tells it what was decided. Only the topic of an undecided join, of a right that is asked for, or of a new
token waits for that decision: what the client sends there meanwhile is held, within limits, and handled afterwards;
heartbeats and other topics go on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.channels import replies
from pgcast.channels.admission import TOO_MANY_CHANNELS, admit, misconfigured
from pgcast.channels.channel import TOPIC_PREFIX, State, Step
from pgcast.channels.effects import (
    Ask,
    Close,
    Effect,
    Enter,
    Join,
    Leave,
    Publish,
    Regrant,
    Renew,
    Send,
    Track,
    Untrack,
    Watch,
)
from pgcast.channels.rates import Calls, Rate
from pgcast.channels.rights import EVERYTHING, Right
from pgcast.frames.broadcast import read_broadcast
from pgcast.frames.payloads import OPAQUE, read_presence, read_token
from pgcast.frames.websocket import text_frame
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgcast.channels.channel import Channel
    from pgcast.channels.limits import Limits
    from pgcast.channels.rights import Rights
    from pgcast.frames.codec import Serializer
    from pgcast.frames.message import Message
    from pgcast.frames.payloads import PresenceRequest

_PHOENIX: Final = "phoenix"

_CALLS_SPAN_S: Final = 30.0

# "Service restart" in the IANA registry of close codes: the one after which all clients come back.
_COME_BACK: Final = 1012


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the owner decided on a join.

    Attributes:
        refusal: Why the join is refused, `Code: text`; None if it is accepted.
        error: Why the bindings cannot be served; the channel is joined all the same, unless it asked to wait for them.
        is_live: The bindings are in force. If not, `Session.subscribed` tells the client later.
        note: What the client has to know of bindings that are served, but not wholly.
        rights: What the channel may do on its topic.
    """

    refusal: str | None = None
    error: str | None = None
    is_live: bool = True
    note: str | None = None
    rights: Rights = EVERYTHING


class Session:
    """One client. Not to be called while one of its own calls runs; never raises on what a client sends.

    Args:
        serializer: What the connection speaks.
        limits: What the client may ask for.
        limited: Counts, by the name of the limit, what was refused; may be shared by sessions.

    Attributes:
        malformed: How many messages could not be read; they are dropped. Its owner may set it back.
        malformed_reason: What was wrong with the last of them, without anything of its content.
        ignored: How many messages had an event or a payload that means nothing here; they are dropped, too, and may be
            set back.
    """

    __slots__ = (
        "_channels",
        "_held",
        "_held_bytes",
        "_is_closed",
        "_limited",
        "_limits",
        "_now_s",
        "_rate",
        "_serializer",
        "ignored",
        "malformed",
        "malformed_reason",
    )

    def __init__(self, serializer: Serializer, limits: Limits, limited: Counter[str] | None = None) -> None:
        self._serializer = serializer
        self._limits = limits
        self._channels: dict[str, Channel] = {}
        self._held = 0
        self._held_bytes = 0
        self._is_closed = False
        self._limited: Counter[str] = Counter() if limited is None else limited
        self._rate = Rate(limits.max_messages_per_s) if limits.max_messages_per_s else None
        self._now_s = 0.0
        self.malformed = 0
        self.malformed_reason = ""
        self.ignored = 0

    @property
    def channels(self) -> Collection[Channel]:
        """The current channels, joining or joined."""
        return self._channels.values()

    # What the client says

    def receive_text(self, text: str | bytes, now_s: float = 0.0) -> list[Effect]:
        """Take a text message. One that cannot be read is counted and dropped; the connection stays.

        Args:
            text: The message.
            now_s: The time, for limits: any clock that never goes back.
        """
        if self._is_closed:
            return []
        self._now_s = now_s
        try:
            message = self._serializer.decode_text(text)
        except FrameError as error:
            return self._malformed(error)
        return self._handle(message)

    def receive_binary(self, data: bytes, now_s: float = 0.0) -> list[Effect]:
        """Take a binary message, as `receive_text` does a text."""
        if self._is_closed:
            return []
        self._now_s = now_s
        try:
            message = self._serializer.decode_binary(data)
        except FrameError as error:
            return self._malformed(error)
        return self._handle(message)

    # What the owner says

    def join_decided(self, channel: Channel, outcome: Outcome) -> list[Effect]:
        """Answer a join, and then handle what was held for it. Nothing if the channel does not wait for it any more."""
        if not self._is_current(channel, State.JOINING):
            return []
        error = channel.binding_error or outcome.error
        refusal = outcome.refusal
        if refusal is None and error is not None and channel.wants_wait:
            refusal = misconfigured(error)
        if refusal is None:
            effects = self._welcome(channel, error, outcome)
        else:
            effects = [self._end(channel), self._send(replies.error_reply(channel.request, refusal))]
        return effects + self._release(channel)

    def subscribed(self, channel: Channel, note: str | None = None) -> list[Effect]:
        """Tell a joined channel that its bindings are in force, where the outcome of its join could not say so yet.

        Args:
            channel: Whose bindings.
            note: What the client has to know of them.
        """
        if not channel.bindings or not self._is_current(channel, State.JOINED):
            return []
        more = {} if note is None else {"note": note}
        return [self._send(replies.system(channel, "postgres_changes", "ok", "Subscribed to PostgreSQL", **more))]

    def system_error(self, channel: Channel, text: str) -> list[Effect]:
        """Tell a joined channel that its bindings are not served at present; it stays joined."""
        if not self._is_current(channel, State.JOINED):
            return []
        return [self._send(replies.system(channel, "postgres_changes", "error", text))]

    def replication_ready(self, channel: Channel) -> list[Effect]:
        """Tell a joined channel that broadcasts from the database flow."""
        if not self._is_current(channel, State.JOINED):
            return []
        return [self._send(replies.system(channel, "system", "ok", "Replication connection established"))]

    def gap(self, channel: Channel, oldest: str | None) -> list[Effect]:
        """Tell a joined channel that changes are missing.

        Args:
            channel: Whose changes are missing.
            oldest: The oldest position that can still be had; None if there is none.
        """
        if not self._is_current(channel, State.JOINED):
            return []
        return [self._send(replies.gap_detected(channel, oldest))]

    def broken(self, channel: Channel) -> list[Effect]:
        """End a channel for a fault of ours, and have the client join again; an undecided join is refused."""
        if self._is_current(channel, State.JOINING):
            return self.join_decided(channel, Outcome(refusal="UnknownErrorOnChannel: the channel broke, join again"))
        if not self._is_current(channel, State.JOINED):
            return []
        return [self._end(channel), self._send(replies.errored(channel)), *self._release(channel)]

    def presence_state(self, channel: Channel, presences: Sequence[bytes]) -> list[Effect]:
        """Tell a channel who is there, also if nobody is: clients wait for it before they report any presence at all.

        Args:
            channel: Who is told.
            presences: The text of a JSON object by key, and differences that complete it.
        """
        if not self._is_current(channel, State.JOINED):
            return []
        first, *more = presences
        rest = [self._send(replies.presence_diff(channel, difference)) for difference in more]
        return [self._send(replies.presence_state(channel, first)), *rest]

    def shut(self, channel: Channel, text: str) -> list[Effect]:
        """End a joined channel for good: its clients do not join again by themselves.

        Args:
            channel: Which.
            text: Why; several clients read it, so keep to the protocol's wording.
        """
        if not self._is_current(channel, State.JOINED):
            return []
        told = self._send(replies.system(channel, "system", "error", text))
        return [self._end(channel), told, self._send(replies.closed(channel)), *self._release(channel)]

    def right_decided(self, channel: Channel, right: Right, *, is_allowed: bool) -> list[Effect]:
        """Answer an `Ask`, and handle what was held for it. Nothing if the channel does not wait for it any more."""
        if not self._is_current(channel, State.JOINED) or channel.asking is not right:
            return []
        channel.asking = None
        channel.rights = channel.rights.decided(right, is_allowed=is_allowed)
        return self._release(channel)

    def renewed(self, channel: Channel, rights: Rights | None = None) -> list[Effect]:
        """Answer a `Renew`: go on with the rights that the new token gives, and handle what was held for it.

        Args:
            channel: Which.
            rights: What it may do on its topic: all that it could read before, perhaps more; None if the token changes
                nothing.
        """
        if not self._is_current(channel, State.JOINED) or not channel.is_renewing:
            return []
        channel.is_renewing = False
        if rights is None:
            return self._release(channel)
        before, channel.rights = channel.rights, rights
        effects: list[Effect] = [Regrant(channel)]
        if channel.wants_presence and rights.read_presence and not before.read_presence:
            effects.append(Watch(channel))
        return effects + self._release(channel)

    def disconnect(self) -> list[Effect]:
        """Send the client away such that it comes back: the node restarts or drains."""
        told = [
            self._send(replies.system(channel, "system", "ok", "Server requested disconnect"))
            for channel in self._channels.values()
            if channel.state is State.JOINED
        ]
        return [*told, *self.close(), Close(_COME_BACK, "Server requested disconnect")]

    def close(self) -> list[Effect]:
        """End all channels: the connection is gone. What still arrives is ignored; twice is safe."""
        self._is_closed = True
        return [self._end(channel) for channel in list(self._channels.values())]

    # Inside

    def _malformed(self, error: FrameError) -> list[Effect]:
        self.malformed += 1
        self.malformed_reason = error.message
        return []

    def _handle(self, message: Message) -> list[Effect]:
        if message.topic == _PHOENIX and message.event == "heartbeat":
            return [self._send(replies.heartbeat_reply(message))]
        channel = self._channels.get(message.topic)
        if channel is not None and channel.is_undecided:
            return self._hold(channel, message)
        if message.event == "phx_leave":
            return self._leave(channel, message)
        if message.event == "phx_join" and message.topic.startswith(TOPIC_PREFIX):
            return self._join(channel, message)
        return self._push(channel, message)

    def _join(self, replaced: Channel | None, message: Message) -> list[Effect]:
        """Start a join. The channel it replaces ends without `phx_close`: two clients would close the new one."""
        effects: list[Effect] = [] if replaced is None else [self._end(replaced)]
        admitted = admit(message, self._limits, len(self._channels))
        if isinstance(admitted, str):
            if admitted == TOO_MANY_CHANNELS:
                self._limited["channels"] += 1
            return [*effects, self._send(replies.error_reply(message, admitted))]
        self._channels[message.topic] = admitted
        return [*effects, Join(admitted)]

    def _welcome(self, channel: Channel, error: str | None, outcome: Outcome) -> list[Effect]:
        """Accept a join: first the reply, then what it causes."""
        channel.step(Step.ACCEPT)
        channel.rights = outcome.rights
        effects: list[Effect] = [self._send(replies.join_reply(channel)), Enter(channel)]
        channel.echo = ()
        if channel.legacy_topic is not None:
            return effects  # its clients never asked for presence, and know no system messages
        if channel.wants_presence and channel.rights.read_presence:
            effects.append(Watch(channel))
        if error is not None:
            return effects + self.system_error(channel, error)
        return effects + self.subscribed(channel, outcome.note) if outcome.is_live else effects

    def _leave(self, channel: Channel | None, message: Message) -> list[Effect]:
        """Answer a leave, always with ok. One that belongs to an earlier join of the topic ends nothing."""
        reply = self._send(replies.ok_reply(message))
        if channel is None:
            return [reply]
        if None not in {message.join_ref, channel.join_ref} and message.join_ref != channel.join_ref:
            return [reply]
        return [self._end(channel), reply, self._send(replies.closed(channel))]

    def _push(self, channel: Channel | None, message: Message) -> list[Effect]:
        if channel is None:
            return [self._send(replies.unmatched_reply(message))]
        if self._rate is not None and self._rate.count(self._now_s):
            return self._shut_for_limit(channel, "messages", "Too many messages per second")
        match message.event:
            case "access_token":
                return self._renew(channel, message)
            case "presence":
                return self._presence(channel, message)
            case "broadcast":
                return self._broadcast(channel, message)
        self.ignored += 1
        return []

    def _renew(self, channel: Channel, message: Message) -> list[Effect]:
        """Take a new token, without a reply. An opaque key, or anything but a text, means to keep the old one.

        What the client sends after it is meant to be done with its rights, and so waits.
        """
        try:
            token = read_token(message.payload)
        except FrameError:
            token = None
        if token is None or token.strip().startswith(OPAQUE):
            return []
        channel.is_renewing = True
        return [Renew(channel, token)]

    def _shut_for_limit(self, channel: Channel, name: str, text: str) -> list[Effect]:
        self._limited[name] += 1
        return self.shut(channel, text)

    def _presence(self, channel: Channel, message: Message) -> list[Effect]:
        """Answer a channel that tells of its presence."""
        limit = self._presence_limit(channel)
        if limit is not None:
            return self._shut_for_limit(channel, *limit)
        try:
            request = read_presence(message.payload)
        except FrameError:
            return [self._send(replies.error_reply(message, "Presence payload must be a map"))]
        match request.event:
            case "track":
                return self._track(channel, message, request)
            case "untrack":
                return [self._send(replies.ok_reply(message)), Untrack(channel)]
            case "":
                return [self._send(replies.ok_reply(message))]
        return [self._send(replies.error_reply(message, "Unknown presence event"))]

    def _presence_limit(self, channel: Channel) -> tuple[str, str] | None:
        """Count a presence message; return the name and the text of the limit that it is over."""
        limits = self._limits
        if limits.max_presence_calls:
            channel.presence_calls = channel.presence_calls or Calls(limits.max_presence_calls, _CALLS_SPAN_S)
            if channel.presence_calls.count(self._now_s):
                return "presence_calls", "Client presence rate limit exceeded"
        if limits.max_presence_per_s:
            channel.presence_rate = channel.presence_rate or Rate(limits.max_presence_per_s)
            if channel.presence_rate.count(self._now_s):
                return "presence", "Too many presence messages per second"
        return None

    def _track(self, channel: Channel, message: Message, request: PresenceRequest) -> list[Effect]:
        """Make a channel present. One that had no use for presence has it from now on."""
        if request.members is None:
            return [self._send(replies.error_reply(message, "Presence track payload must be a map"))]
        if 0 < self._limits.max_payload_bytes < request.size_bytes:
            return self._shut_for_limit(channel, "payload", "Track message size exceeded")
        is_allowed = channel.rights.write_presence
        if is_allowed is None:
            return self._ask(channel, Right.WRITE_PRESENCE, message)
        if not is_allowed:
            return [self._send(replies.error_reply(message, "unauthorized"))]
        effects: list[Effect] = [self._send(replies.ok_reply(message))]
        if not channel.wants_presence:
            channel.wants_presence = True
            if channel.rights.read_presence:
                effects.append(Watch(channel))
        return [*effects, Track(channel, request.members)]

    def _broadcast(self, channel: Channel, message: Message) -> list[Effect]:
        """Relay a broadcast. One that cannot be is dropped; only a channel that wants each answered is told why."""
        broadcast = read_broadcast(message.payload)
        if broadcast is None:
            self.ignored += 1
            return self._ack(channel, message, "invalid_payload")
        if 0 < self._limits.max_payload_bytes < broadcast.size_bytes:
            self._limited["payload"] += 1
            return self._ack(channel, message, "payload_size_exceeded")
        is_allowed = channel.rights.write_broadcasts
        if is_allowed is None:
            return self._ask(channel, Right.WRITE_BROADCASTS, message)
        if not is_allowed:
            return self._ack(channel, message, "unauthorized")
        return [Publish(channel, broadcast), *self._ack(channel, message)]

    def _ack(self, channel: Channel, message: Message, error: str = "") -> list[Effect]:
        if not channel.is_acked:
            return []
        return [self._send(replies.error_reply(message, error) if error else replies.ok_reply(message))]

    def _ask(self, channel: Channel, right: Right, message: Message) -> list[Effect]:
        """Hold a message, and what comes after it on its topic, until a right is decided."""
        refused = self._hold(channel, message)
        if refused:
            return refused
        channel.asking = right
        return [Ask(channel, right)]

    def _hold(self, channel: Channel, message: Message) -> list[Effect]:
        """Keep a message until what its topic waits for is decided, or say that there are too many of them.

        One is kept however long it is: a right is asked at its first use, which may be a large broadcast.
        """
        limits = self._limits
        is_too_much = self._held > 0 and self._held_bytes + message.size > limits.max_held_bytes
        if self._held >= limits.max_held or is_too_much:
            if message.event == "access_token":
                self.ignored += 1
                return []
            return [self._send(replies.error_reply(message, "TooManyMessages: The channel still waits for a decision"))]
        self._held += 1
        self._held_bytes += message.size
        channel.held.append(message)
        return []

    def _release(self, channel: Channel) -> list[Effect]:
        """Handle what was held. A join among it holds what comes after it anew."""
        held, channel.held = channel.held, []
        self._held -= len(held)
        self._held_bytes -= sum(message.size for message in held)
        return [effect for message in held for effect in self._handle(message)]

    def _end(self, channel: Channel) -> Leave:
        channel.step(Step.END)
        del self._channels[channel.topic]
        return Leave(channel)

    def _is_current(self, channel: Channel, state: State) -> bool:
        return channel.state is state and self._channels.get(channel.topic) is channel

    def _send(self, message: Message) -> Send:
        return Send(text_frame(self._serializer.encode(message)))
