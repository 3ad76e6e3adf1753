"""A client's outlet without a socket: frames become the messages in them, and wait to be read.

So whoever reads it is a client like any other, with the same joins, bindings, order and bounds, in the same process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import StreamEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HIGH_BYTES: Final = 1 << 20


class Inbox:
    """An Outlet.

    Args:
        high_bytes: With so much unread it counts as slow.

    Attributes:
        when_resumed: Called when it takes messages again; set by the owner.
    """

    when_resumed: Callable[[], None]

    def __init__(self, high_bytes: int = _HIGH_BYTES) -> None:
        self.is_paused = False
        self.members = 0
        self.writes = 0
        self._high_bytes = high_bytes
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._arrived = asyncio.Event()
        self._ended_because: str | None = None

    def write(self, content: bytes) -> None:
        """Take whole frames; dropped once closed."""
        if self._ended_because is not None:
            return
        self.writes += 1
        self._unread.extend(payloads_of(content))
        self._unread_bytes += len(content)
        self.is_paused = self._unread_bytes > self._high_bytes
        self._arrived.set()

    def buffered_bytes(self) -> int:
        """Return how much is unread."""
        return self._unread_bytes

    def close(self, code: int, reason: str) -> None:
        """End it: what is unread can still be read."""
        if self._ended_because is None:
            self._ended_because = f"the changes stopped: {reason} ({code})"
            self._arrived.set()

    async def read(self) -> list[bytes]:
        """Wait for messages and return those that are there, at least one, in order.

        Raises:
            StreamEnded: It was closed; the message says why.
        """
        while not self._unread:
            if self._ended_because is not None:
                raise StreamEnded(
                    self._ended_because, hint="if the output is read slowly, let it go to a file: pgcast tail > changes"
                )
            self._arrived.clear()
            await self._arrived.wait()
        messages = list(self._unread)
        self._unread.clear()
        self._unread_bytes = 0
        if self.is_paused:
            self.is_paused = False
            self.when_resumed()
        return messages


def payloads_of(frames: bytes) -> Iterator[bytes]:
    """Take whole, unmasked frames apart (RFC 6455 section 5.2), as a server sends them.

    Layout: one byte FIN and opcode; one byte length, where 126 stands for 2 more bytes of length, 127 for 8.
    """
    at = 0
    while at < len(frames):
        length = frames[at + 1]
        start = at + 2
        if length >= 126:
            more = 2 if length == 126 else 8
            length = int.from_bytes(frames[start : start + more])
            start += more
        at = start + length
        yield frames[start:at]
