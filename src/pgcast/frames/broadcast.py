"""A broadcast, wherever it came from, to the one frame of it that all channels of a serializer share.

    how it came                     to a channel of 1.0.0        to a channel of 2.0.0
    a text push                     text, payload verbatim       the same
    a user broadcast push, JSON     text, made of its parts      binary (kind 4), encoding 1
    a user broadcast push, raw      cannot be expressed          binary (kind 4), encoding 0
    HTTP, one message               as a user broadcast push
    HTTP, batch                     text, made of its parts      the same
    the database                    as a user broadcast push, with the row's id
    replayed, JSON                  text, with its id            the same, with the channel's join_ref
    replayed, raw                   cannot be expressed          binary (kind 4), encoding 0

What is made of its parts is `{"type":"broadcast","event":E,"payload":P}`, and `"meta"` where there is an id. Where a
name is too long for the sizes of a binary frame, JSON goes as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.frames.binary import user_broadcast
from pgcast.frames.message import BinaryPayload, Message
from pgcast.frames.reading import as_text, read, write
from pgcast.frames.websocket import binary_frame, text_frame
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from pgcast.frames.codec import Serializer
    from pgcast.frames.message import Payload, Ref

_RAW: Final = msgspec.json.Decoder(msgspec.Raw)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One message to all who are on a topic.

    Attributes:
        event: What the application calls the event; empty where `verbatim` says it.
        data: The application's payload: JSON text that is known to be well-formed, or any bytes.
        is_json: Which of both.
        id: The id that receivers find in `meta`; None without one.
        is_replayed: Whether it is sent again to one who joined later; `meta` says so, too.
        is_text: Whether JSON goes as text to everybody.
        verbatim: The whole payload of a text push, which goes out as it came; None for all others.
    """

    event: str
    data: bytes = b""
    is_json: bool = True
    id: str | None = None
    is_replayed: bool = False
    is_text: bool = False
    verbatim: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """How long its payload is, as limits count it."""
        return len(self.data if self.verbatim is None else self.verbatim)


def read_broadcast(payload: Payload) -> Broadcast | None:
    """Take what a client pushed.

    Returns:
        What to relay; None where it is no broadcast: a text whose payload is no object, a user broadcast push that says
        it is JSON and is not. Clients would fail on them.
    """
    if isinstance(payload, bytes):
        return Broadcast("", verbatim=payload) if payload.startswith(b"{") else None
    if isinstance(payload, BinaryPayload):
        return None
    if payload.is_json and not is_json(payload.data):
        return None
    return Broadcast(payload.event, payload.data, payload.is_json)


def is_json(data: bytes) -> bool:
    """Say whether bytes are the text of one JSON value, in UTF-8."""
    try:
        read(_RAW, as_text(data))
    except FrameError:
        return False
    return True


def frame_of(broadcast: Broadcast, topic: str, serializer: Serializer, join_ref: Ref = None) -> bytes | None:
    """Make a broadcast's frame, WebSocket header included.

    Args:
        broadcast: What is sent.
        topic: The full topic, `realtime:room:1`.
        serializer: What its receivers speak.
        join_ref: The channel's, for what is sent to one channel alone; None for what all share.

    Returns:
        None where the protocol cannot express it: raw bytes in protocol 1.0.0, or with a name over 255 bytes.
    """
    if broadcast.verbatim is None and serializer.has_binary and not (broadcast.is_json and _goes_as_text(broadcast)):
        frame = user_broadcast(topic, broadcast.event, _meta(broadcast), broadcast.data, is_json=broadcast.is_json)
        if frame is not None:
            return binary_frame(frame)
    if broadcast.verbatim is None and not broadcast.is_json:
        return None
    return text_frame(serializer.encode(Message(join_ref, None, topic, "broadcast", _payload(broadcast))))


def _goes_as_text(broadcast: Broadcast) -> bool:
    return broadcast.is_text or broadcast.is_replayed


def _payload(broadcast: Broadcast) -> bytes:
    if broadcast.verbatim is not None:
        return broadcast.verbatim
    meta = _meta(broadcast)
    more = b',"meta":' + meta if meta else b""
    return b'{"type":"broadcast","event":%b,"payload":%b%b}' % (write(broadcast.event), broadcast.data, more)


def _meta(broadcast: Broadcast) -> bytes:
    """Return what receivers find in `meta`, the text of an object; empty without an id."""
    if broadcast.id is None:
        return b""
    replayed = b',"replayed":true' if broadcast.is_replayed else b""
    return b'{"id":%b%b}' % (write(broadcast.id), replayed)
