"""Messages to JSON arrays in text frames and back, and from binary frames: protocol 2.0.0.

    ["6","7","realtime:room:1","phx_reply",{"status":"ok","response":{}}]

The array is join_ref, ref, topic, event, payload; from the client further elements are ignored, and the payload may be
missing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pgcast.frames.binary import decode_push
from pgcast.frames.message import Message, Ref
from pgcast.frames.reading import NULL, as_text, read, write


class _Wire(msgspec.Struct, array_like=True):
    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: msgspec.Raw = msgspec.Raw(NULL)


_WIRE: Final = msgspec.json.Decoder(_Wire)


class V2:
    """The serializer of protocol 2.0.0. Holds nothing: one instance serves all connections."""

    version: Final = "2.0.0"
    has_binary: Final = True

    def decode_text(self, text: str | bytes) -> Message:
        """Read one text message.

        Raises:
            FrameError: It is no message of this protocol.
        """
        wire = read(_WIRE, as_text(text))
        return Message(wire.join_ref, wire.ref, wire.topic, wire.event, bytes(wire.payload), len(text))

    def decode_binary(self, data: bytes) -> Message:
        """Read one binary message: a push (kind 0) or a user broadcast push (kind 3).

        Raises:
            FrameError: It is neither, or is cut short.
        """
        return decode_push(data)

    def encode(self, message: Message) -> bytes:
        """Return a message with a JSON payload as JSON text."""
        if not isinstance(message.payload, bytes):
            raise TypeError(f"expected a JSON payload, not {type(message.payload).__name__}")
        return b"[%b,%b,%b,%b,%b]" % (
            write(message.join_ref),
            write(message.ref),
            write(message.topic),
            write(message.event),
            message.payload,
        )

    def change_parts(self, topic: str, ids: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Return what stands before and after the `data` of a `postgres_changes` message."""
        return b'[null,null,%b,"postgres_changes",{"ids":%b,"data":' % (write(topic), write(ids)), b"}]"

    def legacy_parts(self, topic: str, event: str) -> tuple[bytes, bytes]:
        """Return what stands before and after the payload of a change on a topic of the oldest protocol."""
        return b"[null,null,%b,%b," % (write(topic), write(event)), b"]"
