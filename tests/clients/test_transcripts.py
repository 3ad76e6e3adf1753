"""Whole conversations of official clients with the server, byte for byte, overheard between the two.

The files in `transcripts` have the request target, what the client sent (`>`) and what the server sent (`<`). Both were
checked by reading, and are what the protocol says; a client's new release may send something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from fix_clients import (
    DEADLINE_S,
    REALTIME_JS,
    REALTIME_JS_1_7,
    REALTIME_JS_2_10,
    REALTIME_JS_2_15,
    REALTIME_JS_V1,
    REALTIME_PY,
    REALTIME_PY_2_4,
    Application,
    Client,
    application,
)
from fix_node import Node
from pgcast.devdb.template import Database

TRANSCRIPTS = Path(__file__).parent / "transcripts"

# What differs from run to run.
MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{16}-[0-9a-f]{8}"), "POSITION"),
)

FILES = {
    "realtime-js-2.119.1-vsn-2": REALTIME_JS,
    "realtime-js-2.119.1-vsn-1": REALTIME_JS_V1,
    "realtime-js-2.15.6": REALTIME_JS_2_15,
    "realtime-js-2.10.7": REALTIME_JS_2_10,
    "realtime-js-1.7.5": REALTIME_JS_1_7,
    "realtime-py-2.34.1": REALTIME_PY,
    "realtime-py-2.4.3": REALTIME_PY_2_4,
}


@dataclass
class Ear:
    """What went to and fro through one connection."""

    node: Node
    target: str = ""
    sent: list[str] = field(default_factory=list)
    received: list[str] = field(default_factory=list)
    is_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def overhear(self, client: ServerConnection) -> None:
        """Hand on all messages in both directions."""
        assert client.request is not None
        self.target = client.request.path
        url = f"ws://127.0.0.1:{self.node.port}{self.target}"
        with contextlib.suppress(ConnectionClosed):
            async with connect(url, compression=None) as server, asyncio.TaskGroup() as group:
                to_client = group.create_task(self._to_client(server, client))
                async for text in client:
                    self.sent.append(masked(str(text)))
                    await server.send(text)
                # realtime-js 2.10 closes its socket with its last channel, whatever is still on its way to it.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.is_left.wait(), DEADLINE_S)
                to_client.cancel()

    async def _to_client(self, server: ClientConnection, client: ServerConnection) -> None:
        async for text in server:
            self.received.append(masked(str(text)))
            if "phx_close" in str(text):
                self.is_left.set()
            with contextlib.suppress(ConnectionClosed):
                await client.send(text)

    def transcript(self) -> list[str]:
        """The target; what was sent; what was received. Heartbeats come first: they are not ordered with the rest."""
        lines = [f"> {text}" for text in self.sent] + [f"< {text}" for text in self.received]
        return [self.target, *sorted(lines, key=lambda line: (line[0] == "<", '"phoenix"' not in line))]


def masked(text: str) -> str:
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


@contextlib.asynccontextmanager
async def overheard(client: Client, node: Node, channel: dict[str, Any]) -> AsyncIterator[tuple[Application, Ear]]:
    """An application, and what is said between it and the server."""
    ear = Ear(node)
    async with serve(ear.overhear, "127.0.0.1", 0, compression=None) as relay:
        port = next(iter(relay.sockets)).getsockname()[1]
        async with application(client, Node({}, port, node.log_path), channel) as app:
            yield app, ear


@pytest.fixture(scope="module")
def diary(shared_database: Database) -> Database:
    """A database with a table whose name is always the same: ids of bindings are hashes of what is bound to."""
    shared_database.execute("create table diary (id int8 primary key, title text)")
    return shared_database


@pytest.mark.behaviour("transcript")
@pytest.mark.parametrize(("name", "client"), FILES.items(), ids=FILES)
async def test_a_conversation_is_as_recorded(name: str, client: Client, shared_node: Node, diary: Database):
    topic = "realtime:public:diary" if client.is_legacy else "room"
    binding = {"event": "*", "schema": "public", "table": "diary", "filter": "id=eq.1"}
    async with overheard(client, shared_node, {"topic": topic, "bindings": [binding]}) as (app, ear):
        await app.gets_status("SUBSCRIBED", topic)
        diary.execute("insert into diary values (1, 'x')")
        diary.execute("update diary set title = 'y'")
        diary.execute("delete from diary")
        # Of the oldest client, two listeners hear the INSERT.
        await app.gets_changes(4 if client.is_legacy else 3)
        await app.leave(topic)
        async with asyncio.timeout(DEADLINE_S):
            await ear.is_left.wait()
    assert ear.transcript() == (TRANSCRIPTS / f"{name}.txt").read_text().splitlines()
