"""Messages to JSON objects in text frames and back: protocol 1.0.0.

    {"topic":"realtime:room:1","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}

To the client go exactly these four keys: `ref` is always there, null on all that is no reply. From the client `ref`,
`join_ref` and `payload` may be missing, and keys of its own are ignored. There are no binary frames.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pgcast.frames.message import Message, Ref
from pgcast.frames.reading import NULL, as_text, read, write
from pgcast.model.errors import FrameError


class _Wire(msgspec.Struct):
    topic: str
    event: str
    payload: msgspec.Raw = msgspec.Raw(NULL)
    ref: Ref = None
    join_ref: Ref = None


_WIRE: Final = msgspec.json.Decoder(_Wire)


class V1:
    """The serializer of protocol 1.0.0. Holds nothing: one instance serves all connections."""

    version: Final = "1.0.0"
    has_binary: Final = False

    def decode_text(self, text: str | bytes) -> Message:
        """Read one text message.

        Raises:
            FrameError: It is no message of this protocol.
        """
        wire = read(_WIRE, as_text(text))
        return Message(wire.join_ref, wire.ref, wire.topic, wire.event, bytes(wire.payload), len(text))

    def decode_binary(self, data: bytes) -> Message:
        """Refuse a binary message.

        Raises:
            FrameError: Always.
        """
        raise FrameError(f"a binary message of {len(data)} bytes", hint="binary messages need vsn=2.0.0")

    def encode(self, message: Message) -> bytes:
        """Return a message with a JSON payload as JSON text."""
        if not isinstance(message.payload, bytes):
            raise TypeError(f"expected a JSON payload, not {type(message.payload).__name__}")
        return b'{"topic":%b,"event":%b,"payload":%b,"ref":%b}' % (
            write(message.topic),
            write(message.event),
            message.payload,
            write(message.ref),
        )

    def change_parts(self, topic: str, ids: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Return what stands before and after the `data` of a `postgres_changes` message."""
        prefix = b'{"topic":%b,"event":"postgres_changes","payload":{"ids":%b,"data":' % (write(topic), write(ids))
        return prefix, b'},"ref":null}'

    def legacy_parts(self, topic: str, event: str) -> tuple[bytes, bytes]:
        """Return what stands before and after the payload of a change on a topic of the oldest protocol."""
        return b'{"topic":%b,"event":%b,"payload":' % (write(topic), write(event)), b',"ref":null}'
