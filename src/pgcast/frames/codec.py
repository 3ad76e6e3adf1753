"""The `vsn` of a socket's URL to the serializer that its connection speaks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from pgcast.frames.v1 import V1
from pgcast.frames.v2 import V2
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from pgcast.frames.message import Message

_VERSION: Final = re.compile(r"([12])\.0\.[0-9]{1,9}", re.ASCII)
_V1: Final = V1()
_V2: Final = V2()


class Serializer(Protocol):
    """Messages to the text of frames and back. WebSocket headers are `frames.websocket`'s business."""

    @property
    def version(self) -> str:
        """The `vsn` that chooses it."""
        ...

    @property
    def has_binary(self) -> bool:
        """Whether its clients read binary messages."""
        ...

    def decode_text(self, text: str | bytes) -> Message:
        """Read one text message; raise FrameError, and nothing else, on any other text."""
        ...

    def decode_binary(self, data: bytes) -> Message:
        """Read one binary message; raise FrameError, and nothing else, on any other bytes."""
        ...

    def encode(self, message: Message) -> bytes:
        """Return a message as JSON text; its payload must be JSON."""
        ...

    def change_parts(self, topic: str, ids: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Return prefix and suffix: prefix + data + suffix is the text of a `postgres_changes` message."""
        ...

    def legacy_parts(self, topic: str, event: str) -> tuple[bytes, bytes]:
        """Return prefix and suffix: prefix + payload + suffix is the text of a change in the oldest protocol."""
        ...


def serializer_for(vsn: str | None) -> Serializer:
    """Choose the serializer.

    Args:
        vsn: The query parameter; None where it is absent, which means 1.0.0.

    Raises:
        FrameError: Neither 1.0.x nor 2.0.x: the upgrade is to be refused.
    """
    if vsn is None:
        return _V1
    match = _VERSION.fullmatch(vsn)
    if match is None:
        raise FrameError(f"unknown protocol version {vsn[:20]!r}", hint="vsn is 1.0.0 or 2.0.0")
    return _V1 if match[1] == "1" else _V2
