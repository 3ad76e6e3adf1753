"""Binary messages of protocol 2.0.0: clients send push and user broadcast push, a server sends user broadcast alone.

Of the protocol's five kinds the others are not used: clients fail on kinds 0 to 2.

All sizes are one byte and count UTF-8 bytes; there is no padding, and the rest of the frame is the data.
"""

from __future__ import annotations

from typing import Final

from pgcast.frames.message import BinaryPayload, Message, UserBroadcast
from pgcast.model.errors import FrameError

_PUSH: Final = 0
_USER_BROADCAST_PUSH: Final = 3
_USER_BROADCAST: Final = 4
_MAX_NAME_BYTES: Final = 255


def decode_push(data: bytes) -> Message:
    """Read one binary message of a client.

    Args:
        data: The whole message, without its WebSocket header.

    Raises:
        FrameError: Another kind, a part that is cut short, or a name that is not UTF-8.
    """
    kind = data[0] if data else None
    if kind == _PUSH:
        return _push(data)
    if kind == _USER_BROADCAST_PUSH:
        return _user_broadcast_push(data)
    found = "an empty binary message" if kind is None else f"a binary message of kind {kind}"
    raise FrameError(found, hint="clients send kind 0 (push) or 3 (user broadcast push)")


# byte 0     kind, 4
# bytes 1-3  sizes of topic, user event, metadata
# byte 4     encoding: 0 = raw bytes, 1 = JSON text
# then       topic, user event, metadata, user payload
def user_broadcast(topic: str, event: str, metadata: bytes, data: bytes, *, is_json: bool) -> bytes | None:
    """Make one user broadcast for a client.

    Args:
        topic: The full topic.
        event: What the application calls the event.
        metadata: The text of a JSON object, or nothing.
        data: The application's payload.
        is_json: Whether that is JSON text.

    Returns:
        The message; None where a name is too long for it.
    """
    names = (topic.encode(), event.encode(), metadata)
    sizes = tuple(map(len, names))
    if max(sizes) > _MAX_NAME_BYTES:
        return None
    return bytes((_USER_BROADCAST, *sizes, is_json)) + b"".join((*names, data))


# byte 0     kind, 0
# bytes 1-4  sizes of join_ref, ref, topic, event
# then       join_ref, ref, topic, event, data
def _push(data: bytes) -> Message:
    join_ref, ref, topic, event, rest = _split(data, header=5, names=4)
    return Message(
        _text(join_ref) or None, _text(ref) or None, _text(topic), _text(event), BinaryPayload(rest), len(data)
    )


# byte 0     kind, 3
# bytes 1-5  sizes of join_ref, ref, topic, user event, metadata
# byte 6     encoding: 0 = raw bytes, else JSON text
# then       join_ref, ref, topic, user event, metadata, user payload
def _user_broadcast_push(data: bytes) -> Message:
    join_ref, ref, topic, event, metadata, rest = _split(data, header=7, names=5)
    payload = UserBroadcast(_text(event), metadata, data[6] != 0, rest)
    return Message(_text(join_ref) or None, _text(ref) or None, _text(topic), "broadcast", payload, len(data))


def _split(data: bytes, *, header: int, names: int) -> list[bytes]:
    """Cut a frame into as many parts as its header gives sizes, and the rest."""
    if len(data) < header:
        raise FrameError(f"a binary message of {len(data)} bytes: its header alone takes {header}")
    parts = []
    start = header
    for size in data[1 : 1 + names]:
        parts.append(data[start : start + size])
        start += size
    if start > len(data):
        raise FrameError(f"a binary message of {len(data)} bytes: its sizes ask for {start}")
    parts.append(data[start:])
    return parts


def _text(part: bytes) -> str:
    try:
        return part.decode()
    except UnicodeDecodeError:
        raise FrameError("a binary message with a name that is not UTF-8") from None
