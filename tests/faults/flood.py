"""A client that reads a flood: raw frames in a thread of its own, each row's number checked, nothing parsed further.

A million JSON messages would take a Python client longer than the server; finding the frames' ends and one number in
each takes about a second and a half.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from faults.following import TODOS

if TYPE_CHECKING:
    from fix_node import Node

_READ_BYTES = 256 * 1024
_KERNEL_BYTES = 64 * 1024
_SLICE_S = 0.02
_LOOK_S = 0.5
_JOIN_S = 20.0
_CHANGE = b'"postgres_changes",{'
_RECORD = b'"record":{"id":'
_KEY = b"\0\0\0\0"  # a mask of zeros leaves the payload as it is


class Flood:
    """One client, joined to `todos`, whose rows have to come in order, from 1 on. Use with `async with`.

    Args:
        node: The server.
        rate: How many bytes a second it takes at most; None for all.
        topic: What it joins.
        binding: What differs from all changes of `todos`.

    Attributes:
        count: How many rows have come, which is the number of the last one.
        shortest: The length of the shortest message with a row.
        last_at_s: When the last row came.
        longest_wait_s: The longest time between one row and the next.
        mistake: The first thing that was not as it should be.
        is_closed: Whether the server has closed the connection.
    """

    def __init__(self, node: Node, *, rate: int | None = None, topic: str = "realtime:flood", **binding: Any) -> None:
        self.count = 0
        self.shortest = 1 << 62
        self.last_at_s = 0.0
        self.longest_wait_s = 0.0
        self.mistake = ""
        self.is_closed = False
        self._node = node
        self._rate = rate
        self._topic = topic
        self._taken_bytes = 0
        self._last: tuple[int, int] | None = None
        self._last_row = b""
        self._binding = {**TODOS, **binding}
        self._stop = threading.Event()
        self._joined = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._socket = socket.socket()
        self._buffer = bytearray()

    async def __aenter__(self) -> Self:
        self._thread.start()
        has_joined = await asyncio.to_thread(self._joined.wait, _JOIN_S)
        assert has_joined, f"the client did not join: {self.mistake}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, _JOIN_S)
        assert not self._thread.is_alive()
        self._socket.close()

    def check(self, rows: int) -> None:
        """All rows came, from 1 on, in order, each once."""
        assert not self.mistake, self.mistake
        assert self.count == rows
        assert not self.is_closed

    def position(self) -> str:
        """Where the last row that came is; once nothing more comes."""
        return str(json.loads(self._last_row)[4]["data"]["position"])

    # In the thread

    def _run(self) -> None:
        try:
            self._connect()
            self._read()
        except (OSError, AssertionError) as error:
            self.mistake = self.mistake or f"{type(error).__name__}: {error}"

    def _connect(self) -> None:
        if self._rate is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BYTES)
        self._socket.settimeout(_JOIN_S)
        self._socket.connect(("127.0.0.1", self._node.port))
        self._socket.sendall(
            b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._socket.recv(1)
        assert self._buffer.startswith(b"HTTP/1.1 101"), self._buffer
        self._buffer.clear()
        config = {"config": {"postgres_changes": [self._binding]}}
        self._send(0x1, json.dumps(["1", "1", self._topic, "phx_join", config]).encode())
        self._socket.settimeout(_LOOK_S)

    def _read(self) -> None:
        started_s = time.monotonic()
        while not self._stop.is_set():
            wanted = _READ_BYTES
            if self._rate is not None:
                wanted = int((time.monotonic() - started_s + _SLICE_S) * self._rate) - self._taken_bytes
                if wanted <= 0:
                    time.sleep(_SLICE_S)
                    continue
            try:
                chunk = self._socket.recv(min(wanted, _READ_BYTES))
            except TimeoutError:
                continue
            if not chunk:
                self.is_closed = True
                return
            self._taken_bytes += len(chunk)
            self._buffer += chunk
            self._take_frames()

    def _take_frames(self) -> None:
        buffer = self._buffer
        at, end = 0, len(buffer)
        while end - at >= 2:
            head, length = 2, buffer[at + 1]
            if length == 126:
                head, length = 4, int.from_bytes(buffer[at + 2 : at + 4])
            elif length == 127:
                head, length = 10, int.from_bytes(buffer[at + 2 : at + 10])
            begin = at + head
            if begin + length > end:
                break
            if buffer[at] & 0xF == 1:
                self._take_text(begin, begin + length)
            elif buffer[at] & 0xF == 9:
                self._send(0xA, buffer[begin : begin + length])
            elif buffer[at] & 0xF == 8:
                self.is_closed = True
                self._stop.set()
                self.mistake = self.mistake or f"closed: {bytes(buffer[begin : begin + length])!r}"
            at = begin + length
        if self._last is not None:
            self._last_row = bytes(buffer[slice(*self._last)])
            self._last = None
        del buffer[:at]

    def _take_text(self, begin: int, end: int) -> None:
        buffer = self._buffer
        if buffer.find(_CHANGE, begin, begin + 100) >= 0:
            found = buffer.find(_RECORD, begin, end) + len(_RECORD)
            number = int(buffer[found : buffer.index(b",", found)])
            self._take_row(number, end - begin)
            self._last = (begin, end)
        elif buffer.find(b"Subscribed to PostgreSQL", begin, end) >= 0:
            self._joined.set()

    def _take_row(self, number: int, size_bytes: int) -> None:
        self.count += 1
        self.shortest = min(self.shortest, size_bytes)
        if number != self.count and not self.mistake:
            self.mistake = f"row {number} came as number {self.count}"
        now_s = time.monotonic()
        if self.last_at_s:
            self.longest_wait_s = max(self.longest_wait_s, now_s - self.last_at_s)
        self.last_at_s = now_s

    def _send(self, opcode: int, payload: bytes | bytearray) -> None:
        length = (
            bytes([0x80 | len(payload)])
            if len(payload) < 126
            else bytes([0x80 | 126]) + len(payload).to_bytes(2, "big")
        )
        self._socket.sendall(bytes([0x80 | opcode]) + length + _KEY + payload)
