"""One message of the realtime protocol: the five values that travel in each frame, whatever the serializer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

# Numbers are accepted although no official client sends one, and go back as they came; what does not fit 64 bits could
# not be written again.
Ref = str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None
"""Opaque: compared for equality at most, never read."""


@dataclass(frozen=True, slots=True)
class BinaryPayload:
    """The payload of a binary push (kind 0), which no feature of the protocol uses."""

    data: bytes


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """The payload of a user broadcast push (kind 3).

    Attributes:
        event: What the application calls the event; the message's own event is `broadcast`.
        metadata: The text of a JSON object if the sender keeps to the protocol, unread; may be empty.
        is_json: Whether the sender says that `data` is JSON text, unread.
        data: The application's payload.
    """

    event: str
    metadata: bytes
    is_json: bool
    data: bytes


Payload = bytes | BinaryPayload | UserBroadcast
"""Bytes are the text of any JSON value, unread but known to be well-formed."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message, inbound or outbound.

    Attributes:
        join_ref: Which join of this topic the message belongs to.
        ref: Which request it belongs to.
        topic: The full topic, `realtime:room:1`.
        event: The kind of the message: `phx_join`, `heartbeat`, `postgres_changes`, ...
        payload: What it carries; outbound always bytes.
        size: How long the frame was that brought it; 0 for messages of our own.
    """

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: Payload = b"{}"
    size: int = 0
