"""Clients that only count: fast enough to follow a flood, exact about what arrived and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

TODOS = {"event": "*", "schema": "public", "table": "todos"}


async def joined(
    url: str, topic: str = "realtime:room", *, resume: str | None = None, **binding: Any
) -> ClientConnection:
    """Connect, with an id to resume by if there is one, join with one binding on `todos`, and return once that is in
    force.
    """
    query = "vsn=2.0.0" if resume is None else f"vsn=2.0.0&resume={resume}"
    socket = await connect(f"{url}?{query}", max_size=None, compression=None, ping_interval=None, max_queue=1024)
    config = {"postgres_changes": [{**TODOS, **binding}], "presence": {"enabled": False}}
    await socket.send(json.dumps(["1", "1", topic, "phx_join", {"config": config}]))
    async with asyncio.timeout(20):
        while True:
            message = json.loads(await socket.recv())
            if message[3] == "system":
                assert message[4]["message"] == "Subscribed to PostgreSQL", message
                return socket


async def joined_when_possible(url: str, **binding: Any) -> ClientConnection:
    """Join a server that is just coming back."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                return await joined(url, **binding)
            await asyncio.sleep(0.1)


async def changes(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    """Yield the `data` of each change until the connection ends; a gap is an error."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            message = orjson.loads(await socket.recv())
            if message[3] == "system":
                assert "code" not in message[4], message
            if message[3] == "postgres_changes":
                yield message[4]["data"]


async def ids_until(socket: ClientConnection, last: int, timeout_s: float = 60) -> list[int]:
    """Return the ids of the records that arrive, up to and including `last`."""
    got = []
    async with asyncio.timeout(timeout_s):
        async for data in changes(socket):
            got.append(data["record"]["id"])
            if got[-1] == last:
                break
    return got


async def heartbeats(socket: ClientConnection, every_s: float = 5) -> None:
    """Keep a connection alive until cancelled."""
    while True:
        await socket.send('[null,"hb","phoenix","heartbeat",{}]')
        await asyncio.sleep(every_s)
