"""What a session asks its owner to do. The owner performs effects in the order in which they are listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.channels.channel import Channel


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
class Leave:
    """The channel has ended: unbind it, deliver nothing more to it. Follows each Join exactly once, decided or not."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection with this code and reason (RFC 6455 section 7.4)."""

    code: int
    reason: str


Effect = Send | Join | Leave | Close
