"""A crowd of raw clients of the realtime protocol in one process: what each was sent, cheaply kept and counted.

A library's client for each of a thousand connections would be slower than the server that is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fix_node import Node

_CONNECTING = 100
_REQUEST = (
    b"GET /socket/websocket?vsn=%b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_KEY = b"\0\0\0\0"  # a mask of zeros leaves the payload as it is


class Person(asyncio.Protocol):
    """One client on one topic.

    Attributes:
        number: Which of the crowd.
        vsn: What it speaks.
        events: (event, payload) of each message but replies, in order.
        binary: Contents of the binary messages.
        replies: The statuses of the replies, in order.
        joins: How often it was told that somebody is there, came or changed.
        leaves: How often it was told that somebody went or changed.
    """

    def __init__(self, number: int, topic: str, vsn: str, when_told: Callable[[], None]) -> None:
        self.number = number
        self.vsn = vsn
        self.events: list[tuple[str, Any]] = []
        self.binary: list[bytes] = []
        self.replies: list[str] = []
        self.joins = 0
        self.leaves = 0
        self._state: dict[str, dict[str, Any]] = {}
        self._merged = 0
        self.is_closed = False
        self.opened = asyncio.get_running_loop().create_future()
        self._topic = topic
        self._buffer = bytearray()
        self._is_open = False
        self._ref = 0
        self._when_told = when_told
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(_REQUEST % self.vsn.encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed"))
        self._when_told()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert self._buffer.startswith(b"HTTP/1.1 101 "), bytes(self._buffer)
            del self._buffer[: end + 4]
            self._is_open = True
            self.opened.set_result(None)
        self._take_frames()
        self._when_told()

    def push(self, event: str, payload: object) -> None:
        self._ref += 1
        ref = str(self._ref)
        message = (
            ["1", ref, self._topic, event, payload]
            if self.vsn == "2.0.0"
            else {"topic": self._topic, "event": event, "payload": payload, "ref": ref, "join_ref": "1"}
        )
        text = orjson.dumps(message)
        if len(text) < 126:
            header = bytes((0x81, 0x80 | len(text)))
        else:
            header = bytes((0x81, 0x80 | 126)) + len(text).to_bytes(2, "big")
        self.transport.write(header + _KEY + text)

    def payloads(self, event: str) -> list[Any]:
        """The payloads of one event, in order."""
        return [payload for name, payload in self.events if name == event]

    def present(self) -> dict[str, list[Any]]:
        """Who is there, by the official clients' rules of merging; the metas without their refs."""
        state = self._state
        for name, payload in self.events[self._merged :]:
            if name == "presence_state":
                assert not state, "one state, before any difference"
                for key, entry in payload.items():
                    state[key] = {meta["phx_ref"]: meta["n"] for meta in entry["metas"]}
            elif name == "presence_diff":
                for key, entry in payload["joins"].items():
                    state.setdefault(key, {}).update({meta["phx_ref"]: meta["n"] for meta in entry["metas"]})
                for key, entry in payload["leaves"].items():
                    for meta in entry["metas"]:
                        del state[key][meta["phx_ref"]]  # who leaves was there
                    if not state[key]:
                        del state[key]
        self._merged = len(self.events)
        return {key: list(metas.values()) for key, metas in state.items()}

    def _take_frames(self) -> None:
        buffer = self._buffer
        at = 0
        while len(buffer) - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if len(buffer) < start:
                    break
                length = int.from_bytes(buffer[at + 2 : start], "big")
            if len(buffer) < start + length:
                break
            self._take(buffer[at] & 0x0F, bytes(buffer[start : start + length]))
            at = start + length
        del buffer[:at]

    def _take(self, opcode: int, content: bytes) -> None:
        if opcode == 2:
            self.binary.append(content)
        elif opcode == 1:
            message = _parse(content)
            event, payload = message[3:5] if self.vsn == "2.0.0" else (message["event"], message["payload"])
            if event == "phx_reply":
                self.replies.append(payload["status"])
                return
            self.events.append((event, payload))
            if event == "presence_state":
                self.joins += len(payload)
            elif event == "presence_diff":
                self.joins += len(payload["joins"])
                self.leaves += len(payload["leaves"])


class Crowd:
    """Many persons on one topic, each connected, none joined. Use with `async with`."""

    def __init__(self, node: Node, count: int, topic: str = "realtime:crowd") -> None:
        self._node = node
        self._news = asyncio.Event()
        self.people = [Person(n, topic, "1.0.0" if n % 2 else "2.0.0", self._news.set) for n in range(count)]

    async def __aenter__(self) -> Self:
        _raise_file_limit()
        for first in range(0, len(self.people), _CONNECTING):
            await asyncio.gather(*map(self._connect, self.people[first : first + _CONNECTING]))
        return self

    async def __aexit__(self, *exc: object) -> None:
        for person in self.people:
            person.transport.abort()
        await asyncio.sleep(0)

    async def until(self, is_so: Callable[[Person], bool], people: Iterable[Person], deadline_s: float = 30) -> None:
        """Wait until something is so of all these people."""
        waiting = list(people)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while waiting := [person for person in waiting if not is_so(person)]:
                    self._news.clear()
                    await self._news.wait()
                    await asyncio.sleep(0.02)  # many are told at once
        assert not waiting, f"{len(waiting)} still wait, among them person {waiting[0].number}"

    async def say(
        self, people: Sequence[Person], event: str, payload: Callable[[Person], object] | dict[str, Any]
    ) -> None:
        """Let all of them push something, all at once."""
        for person in people:
            person.push(event, payload(person) if callable(payload) else payload)
        await asyncio.sleep(0)

    async def _connect(self, person: Person) -> None:
        await asyncio.get_running_loop().create_connection(lambda: person, "127.0.0.1", self._node.port)
        await person.opened


@lru_cache(maxsize=1000)
def _parse(content: bytes) -> Any:
    """Parse a message, once for all that are sent the same."""
    return orjson.loads(content)


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
