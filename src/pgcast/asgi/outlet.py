"""An outlet on ASGI's `websocket.send`: frames become messages again, and wait in a bounded queue for their turn.

An ASGI server takes one message at a time, and makes its sender wait while the client is slow. Nothing of ours may
wait, so a task does, and the queue says what the transport's buffer says elsewhere: pause, resume.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgcast.sockets.options import SocketOptions

    Send = Callable[[dict[str, Any]], Awaitable[None]]

_TEXT: Final = 0x81
_BINARY: Final = 0x82


class AsgiOutlet:
    """Where one client's frames go.

    Args:
        options: Buffers and limits.

    Attributes:
        is_paused: Whether the client takes bytes more slowly than they come.
        members: How many joined channels share this connection.
        writes: How often something was written.
        when_resumed: Called when it takes bytes again.
    """

    def __init__(self, options: SocketOptions) -> None:
        self.is_paused = False
        self.members = 0
        self.writes = 0
        self.when_resumed: Callable[[], None] = _nothing
        self._options = options
        self._messages: deque[dict[str, Any]] = deque()
        self._size_bytes = 0
        self._rest = b""
        self._closing: tuple[int, str] | None = None
        self._news = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None

    def write(self, content: bytes) -> None:
        """Send whole frames, or pieces of a large one in a row."""
        if self._closing is not None:
            return
        self.writes += 1
        messages, self._rest = messages_in(self._rest + content)
        self._messages.extend(messages)
        self._size_bytes += len(content)
        if self._size_bytes > self._options.high_bytes:
            self.is_paused = True
        self._news.set()

    def buffered_bytes(self) -> int:
        """Return what the ASGI server has not taken yet."""
        return self._size_bytes

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits, and end the connection after a while whatever the client does."""
        if self._closing is None:
            self._closing = (code, reason)
            self._news.set()
            if self._sending is not None:
                asyncio.get_running_loop().call_later(self._options.close_s, self._sending.cancel)

    def start(self, send: Send) -> asyncio.Task[None]:
        """Begin to send, in a task that ends once the close frame went out, or the client has gone."""
        self._sending = asyncio.get_running_loop().create_task(self._send_for_ever(send), name="outlet")
        return self._sending

    async def _send_for_ever(self, send: Send) -> None:
        while True:
            while self._messages:
                message = self._messages.popleft()
                size = len(message.get("text") or message.get("bytes") or b"")
                await send(message)
                self._sent(size)
            if self._closing is not None:
                code, reason = self._closing
                await send({"type": "websocket.close", "code": code, "reason": reason})
                return
            self._news.clear()
            await self._news.wait()

    def _sent(self, size_bytes: int) -> None:
        self._size_bytes = max(0, self._size_bytes - size_bytes) if self._messages else 0
        if self.is_paused and self._size_bytes <= self._options.low_bytes:
            self.is_paused = False
            self.when_resumed()


# byte 0     FIN and opcode: a text, a binary message, or a control frame; never a fragment
# byte 1     the length up to 125; 126 = two more bytes tell it; 127 = eight more do
# then       the length, big-endian; the payload, not masked
def messages_in(data: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Take our own frames apart again (RFC 6455 section 5.2).

    Pings are left out: ASGI has none.

    Returns:
        The messages, as ASGI has them; and the beginning of a frame whose rest is still to come.
    """
    messages: list[dict[str, Any]] = []
    at = 0
    while len(data) >= at + 2:
        length, begin = data[at + 1], at + 2
        if length > 125:
            begin += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : begin])
        if len(data) < begin or len(data) < begin + length:
            break
        payload = data[begin : begin + length]
        if data[at] == _TEXT:
            messages.append({"type": "websocket.send", "text": payload.decode()})
        elif data[at] == _BINARY:
            messages.append({"type": "websocket.send", "bytes": payload})
        at = begin + length
    return messages, data[at:]


def _nothing() -> None:
    """Do nothing."""
