"""What a session asks its owner to do. The owner performs effects in the order in which they are listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.channels.channel import Channel
    from pgcast.channels.rights import Right
    from pgcast.frames.broadcast import Broadcast


@dataclass(frozen=True, slots=True)
class Send:
    """Write this frame, WebSocket header included, ahead of what is still to be gathered for this connection."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Decide this channel's join: check its bindings, bind them, and call `Session.join_decided` once.

    Always the last of its list, so it may be decided while the list is performed.
    """

    channel: Channel


@dataclass(frozen=True, slots=True)
class Enter:
    """The channel's join has been answered: it is in the room of its topic from now on, with its rights to read."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Publish:
    """Deliver a broadcast to all in the channel's room; to the channel itself only if it wants its own."""

    channel: Channel
    broadcast: Broadcast


@dataclass(frozen=True, slots=True)
class Watch:
    """Call `Session.presence_state` with who is there, and tell the channel of each change from then on."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Track:
    """Tell all who watch the channel's room that it is present.

    Attributes:
        channel: Who is present.
        members: What it tells of itself, the members of a JSON object.
    """

    channel: Channel
    members: bytes


@dataclass(frozen=True, slots=True)
class Untrack:
    """Tell all who watch the channel's room that it is not present any more, if it was."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Ask:
    """Find out whether the channel has a right to write, and call `Session.right_decided` once, within a deadline."""

    channel: Channel
    right: Right


@dataclass(frozen=True, slots=True)
class Regrant:
    """The channel's rights to read are others from now on, as a new token gives them."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Renew:
    """Take a new token for the channel, and call `Session.renewed` once, or `Session.shut` if it is not to be trusted.

    Always the last of its list, so it may be decided while the list is performed.
    """

    channel: Channel
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leave:
    """The channel has ended: unbind it, take it and its presence out of its room.

    Follows each Join exactly once, decided or not.
    """

    channel: Channel


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection with this code and reason (RFC 6455 section 7.4)."""

    code: int
    reason: str


RoomEffect = Enter | Regrant | Publish | Watch | Track | Untrack
Effect = Send | Join | Ask | Renew | Leave | Close | RoomEffect
