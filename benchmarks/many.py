"""Very many clients in one process that connect, say something at once, and look for a text in what they are sent.

One thread and one epoll, nothing parsed: what is measured is the server.
"""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Self

from load import MeasurementFailed, WrongCount

if TYPE_CHECKING:
    from servers import Server

_UNDER_WAY = 500
_READ_BYTES = 1 << 18
_DEADLINE_S = 120.0
_MASK = b"\0\0\0\0"


class Crowd:
    """Clients of one server. Use with `with`.

    Args:
        server: The server.
        count: How many.
        says: What each says once it is connected: texts, in which `{n}` stands for its number.
        awaits: What each waits for, and how often it has to come.
    """

    def __init__(self, server: Server, count: int, says: tuple[str, ...], awaits: tuple[bytes, int]) -> None:
        self._server = server
        self._says = says
        self._text, self._times = awaits
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._tails: dict[int, bytes] = {}
        self._seen: dict[int, int] = {}
        self._count = count
        self._connecting: dict[int, int] = {}
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._poll.close()

    def run(self) -> float:
        """Connect all, let them talk, and wait until each has what it waits for.

        Returns:
            How many seconds that took.

        Raises:
            MeasurementFailed: A connection was refused or closed, or it took too long.
            WrongCount: Somebody was told more than it should be.
        """
        started_s = time.monotonic()
        waiting = iter(range(self._count))
        self._start(waiting, _UNDER_WAY)
        while self._done < self._count:
            if time.monotonic() - started_s > _DEADLINE_S:
                raise MeasurementFailed(f"{self._done} of {self._count} clients got what they waited for")
            for number, event in self._poll.poll(1.0):
                if number in self._connecting and event & select.EPOLLOUT:
                    self._poll.modify(number, select.EPOLLIN)
                    self._sockets[number].sendall(self._request())
                elif self._read(number):
                    self._start(waiting, 1)
        seconds = time.monotonic() - started_s
        if any(seen != self._times for seen in self._seen.values()):
            raise WrongCount(f"each client should have seen {self._times}, one saw {max(self._seen.values())}")
        return seconds

    def _start(self, waiting: object, count: int) -> None:
        for _ in range(count):
            place = next(waiting, None)  # type: ignore[call-overload]
            if place is None:
                return
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect_ex(("127.0.0.1", self._server.port))
            self._sockets[sock.fileno()] = sock
            self._connecting[sock.fileno()] = place
            self._poll.register(sock.fileno(), select.EPOLLOUT)

    def _request(self) -> bytes:
        return (
            f"GET {self._server.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def _read(self, number: int) -> bool:
        """Read what a client was sent; say whether its handshake has just been answered."""
        received = self._sockets[number].recv(_READ_BYTES)
        if not received:
            raise MeasurementFailed("the server closed a connection")
        content = self._tails.get(number, b"") + received
        has_opened = number in self._connecting and b"\r\n\r\n" in content
        if has_opened:
            if not content.startswith(b"HTTP/1.1 101"):
                raise MeasurementFailed(f"handshake refused: {content[:80]!r}")
            content = content.partition(b"\r\n\r\n")[2]
            place = self._connecting.pop(number)
            self._sockets[number].sendall(b"".join(_frame(text.replace("{n}", str(place))) for text in self._says))
        before = self._seen.get(number, 0)
        self._seen[number] = before + content.count(self._text)
        if before < self._times <= self._seen[number]:
            self._done += 1
        # The text may be cut in two; what is kept of it is too short to be counted again.
        self._tails[number] = content if number in self._connecting else content[-(len(self._text) - 1) :]
        return has_opened


def _frame(text: str) -> bytes:
    data = text.encode()
    length = len(data)
    size = bytes((0x80 | length,)) if length < 126 else bytes((0x80 | 126,)) + length.to_bytes(2, "big")
    return b"\x81" + size + _MASK + data
