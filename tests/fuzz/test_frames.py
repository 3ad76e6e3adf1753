"""Broken frames and bodies at a live server, as many as FUZZ_FRAMES says: it stays up, logs no fault, forgets all.

A failure prints the seed that repeats it: FUZZ_SEED.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import os
import random
import secrets
import struct

import pytest

from fix_node import Node, NodeFactory
from fuzz.mutations import MESSAGES, binary_frame, http_body, text_frame, wrapped
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

FRAMES = int(os.environ.get("FUZZ_FRAMES", "20000"))
SEED = os.environ.get("FUZZ_SEED", secrets.token_hex(4))

_CONNECTIONS = 8
_BURST = 100
_ANSWER_S = 60.0
_TEXT, _BINARY = 1, 2

# What is kept of what clients asked for (tables of the catalog, filters' texts, sockets' buffers) is bounded.
_SLACK_BYTES = 24 << 20


class Attacker:
    """One connection that sends bursts of broken frames, each with a heartbeat behind it that must be answered.

    Where the server ends the connection, as it must for what is no WebSocket frame or no text, another one follows.
    """

    def __init__(self, node: Node, number: int) -> None:
        self._node = node
        self._random = random.Random(f"{SEED}-{number}")
        self._version = ("1.0.0", "2.0.0")[number % 2]
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self.sent = 0
        self.ended = 0

    async def run(self, frames: int) -> None:
        while self.sent < frames:
            if self._writer is None:
                await self._connect()
            await self._burst()
        await self._hang_up()

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._node.port)
        key = base64.b64encode(self._random.randbytes(16)).decode()
        self._writer.write(
            f"GET /socket/websocket?vsn={self._version} HTTP/1.1\r\nHost: x\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head

    async def _burst(self) -> None:
        frames = []
        for _ in range(_BURST):
            kind = self._random.random()
            if kind < 0.25:
                frames.append(wrapped(_BINARY, binary_frame(self._random)))
                continue
            text = text_frame(self._random, self._version)
            try:
                text.decode()
            except UnicodeDecodeError:
                if kind < 0.97:  # only now and then: it ends the connection
                    continue
            frames.append(wrapped(_TEXT, text))
        mark = f"mark-{self._random.getrandbits(64):x}"
        beat = (
            f'[null,"{mark}","phoenix","heartbeat",{{}}]'
            if self._version == "2.0.0"
            else f'{{"topic":"phoenix","event":"heartbeat","payload":{{}},"ref":"{mark}"}}'
        )
        assert self._writer is not None
        self.sent += len(frames)
        try:
            self._writer.write(b"".join(frames) + wrapped(_TEXT, beat.encode()))
            async with asyncio.timeout(_ANSWER_S):
                is_open = await self._read_until(mark.encode())
        except (ConnectionError, asyncio.IncompleteReadError):
            is_open = False
        if not is_open:
            self.ended += 1
        elif self._random.random() < 0.02:
            # What is no frame at all, or the beginning of one; nothing can be expected after it.
            self._writer.write(self._random.randbytes(40))
        else:
            return
        await self._hang_up()

    async def _read_until(self, mark: bytes) -> bool:
        """Read whole frames until one holds the mark; say whether the connection is still open."""
        while True:
            first, second = await self._reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            content = await self._reader.readexactly(length)
            if first & 0xF == 8:
                return False
            if mark in content:
                return True

    async def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            self._writer = None


async def attack(node: Node, frames: int) -> int:
    """Send so many frames over several connections; return how many of the connections the server ended."""
    attackers = [Attacker(node, number) for number in range(_CONNECTIONS)]
    await asyncio.gather(*(attacker.run(frames // _CONNECTIONS) for attacker in attackers))
    assert sum(attacker.sent for attacker in attackers) >= frames
    return sum(attacker.ended for attacker in attackers)


async def settled_rss(node: Node) -> int:
    """The server's memory once it has forgotten the connections that are gone."""
    least = node.rss_bytes()
    for _ in range(8):
        await asyncio.sleep(0.5)
        least = min(least, node.rss_bytes())
    return least


async def assert_serves(node: Node, database: Database, number: int) -> None:
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:after", {"event": "INSERT", "schema": "public", "table": "todos"})
        database.execute(f"insert into todos values ({number}, 'milk')")
        assert (await client.change())["data"]["record"]["id"] == number


@pytest.mark.timeout(3600)
async def test_broken_frames_leave_the_server_up_and_its_memory_flat(published: Database, start_node: NodeFactory):
    print(f"FUZZ_SEED={SEED} FUZZ_FRAMES={FRAMES}")
    node = start_node(published.dsn, PGCAST_WINDOW_S="1", PGCAST_LOG="warning")
    pid = node.pid
    await attack(node, max(FRAMES // 5, 2000))
    await assert_serves(node, published, 1)
    before = await settled_rss(node)
    ended = await attack(node, FRAMES)
    await assert_serves(node, published, 2)
    after = await settled_rss(node)
    print(f"{FRAMES} frames, {ended} connections ended; memory {before >> 20} MB before, {after >> 20} MB after")
    assert node.process is not None
    assert node.process.poll() is None
    assert node.pid == pid
    assert after - before < _SLACK_BYTES


@pytest.mark.timeout(3600)
def test_broken_bodies_are_answered(published: Database, start_node: NodeFactory):
    print(f"FUZZ_SEED={SEED}")
    node = start_node(published.dsn, PGCAST_LOG="warning")
    choice = random.Random(SEED)
    seen = set()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)) as connection:
        for _ in range(FRAMES // 20):
            prefix = choice.choice(["", "/realtime/v1"])
            path = choice.choice(
                ["/api/broadcast", "/api/broadcast/a%2Fb/events/hi?private=true", "/api/broadcast/%ff/events/%"]
            )
            kind = choice.choice(["application/json", "application/octet-stream", "text/plain", ""])
            connection.request("POST", prefix + path, http_body(choice), {"content-type": kind} if kind else {})
            response = connection.getresponse()
            response.read()
            seen.add(response.status)
            # 503: what is private needs policies, which nobody has set up here.
            assert response.status in {202, 400, 401, 403, 413, 415, 422, 429, 503}, response.status
    assert {202, 422} <= seen


def test_the_corpus_itself_is_understood():
    """What is mutated is what clients send: unchanged, each of it is a message."""
    assert {event for _, event, _ in MESSAGES} >= {"phx_join", "phx_leave", "broadcast", "presence", "access_token"}
