"""One client's membership in one topic: what its join asked for, and the states it goes through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from pgcast.channels.rights import EVERYTHING

if TYPE_CHECKING:
    from pgcast.channels.rates import Calls, Rate
    from pgcast.channels.rights import Right, Rights
    from pgcast.frames.message import Message, Ref
    from pgcast.frames.payloads import Replay
    from pgcast.model.binding import Binding
    from pgcast.model.claims import Claims

TOPIC_PREFIX: Final = "realtime:"


class State(Enum):
    """Where a channel is."""

    JOINING = "joining"  # its join is not answered yet; messages on its topic are held
    JOINED = "joined"
    ENDED = "ended"  # left, replaced, refused, broken, or its connection is gone


class Step(Enum):
    """What moves a channel on."""

    ACCEPT = "accept"
    END = "end"


TRANSITIONS: Final = {
    (State.JOINING, Step.ACCEPT): State.JOINED,
    (State.JOINING, Step.END): State.ENDED,
    (State.JOINED, Step.END): State.ENDED,
}


@dataclass(eq=False, slots=True)
class Channel:
    """One channel. Compared by identity: a new join of the same topic is a new channel.

    Attributes:
        topic: The full topic, `realtime:room:1`.
        request: The join it came from, for its refs; without the payload.
        bindings: What of the database's changes it wants; empty where `binding_error` is set.
        echo: The entries as the join's reply repeats them, JSON objects; given up with the reply.
        binding_error: What is wrong with the entries' structure; else None.
        wants_wait: An error in the bindings refuses the join, and the reply waits until they are in force.
        wait_ms: For how long at most it waits.
        legacy_topic: The topic without prefix where the topic itself is the binding (the oldest protocol); else None.
        token: The token that its join came with, until it is verified; None for the connection's.
        claims: Whose rights count; None where nothing authenticates clients.
        is_private: It is in the private room of its topic.
        rights: What it may do there.
        asking: The right that is being asked for.
        is_renewing: A new token is being looked at.
        is_acked: Each broadcast is replied to.
        gets_own: Its own broadcasts come back to it.
        replay: Which of the stored broadcasts it wants; None for none.
        wants_replication_ready: It wants to be told once broadcasts from the database flow.
        presence_key: By which name its presence is known; empty until one is made up.
        wants_presence: Presence messages are wanted.
        presence_rate: How many presence messages it sends; made with the first of them, where there is a limit.
        presence_calls: The same, over a short span.
        state: Moved by `step` alone.
        held: Messages on this topic that wait for a decision, in order.
    """

    topic: str
    request: Message
    bindings: tuple[Binding, ...] = ()
    echo: tuple[bytes, ...] = ()
    binding_error: str | None = None
    wants_wait: bool = False
    wait_ms: int = 0
    legacy_topic: str | None = None
    token: str | None = field(default=None, repr=False)
    claims: Claims | None = None
    is_private: bool = False
    rights: Rights = EVERYTHING
    asking: Right | None = None
    is_renewing: bool = False
    is_acked: bool = False
    gets_own: bool = False
    replay: Replay | None = None
    wants_replication_ready: bool = False
    presence_key: str = ""
    wants_presence: bool = False
    presence_rate: Rate | None = None
    presence_calls: Calls | None = None
    state: State = State.JOINING
    held: list[Message] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The topic without `realtime:`, as `system` messages show it."""
        return self.topic.removeprefix(TOPIC_PREFIX)

    @property
    def join_ref(self) -> Ref:
        """The join_ref that the client gave this join."""
        return self.request.join_ref

    @property
    def is_undecided(self) -> bool:
        """Whether what the client sends on its topic has to wait: for the join, a right, or what a new token gives."""
        return self.state is State.JOINING or self.asking is not None or self.is_renewing

    def step(self, step: Step) -> None:
        """Move on.

        Raises:
            KeyError: The table has no such step from here.
        """
        self.state = TRANSITIONS[self.state, step]
