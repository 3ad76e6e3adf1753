"""A client that does not keep up: the others notice nothing, the memory stays bounded, nothing is lost silently."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from faults.following import TODOS, changes, heartbeats, joined
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

MB = 1 << 20


class Reader:
    """Counts what arrives, in order."""

    def __init__(self, connection: ClientConnection, last: int) -> None:
        self.connection = connection
        self.count = 0
        self.task = asyncio.create_task(self._read(last))

    async def _read(self, last: int) -> None:
        async for data in changes(self.connection):
            self.count += 1
            assert data["record"]["id"] == self.count
            if self.count == last:
                break


async def close_reason(connection: ClientConnection) -> tuple[int, str]:
    """Read what is left; return why the server closed."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.recv()
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


async def test_one_of_fifty_stops_reading(published: Database, start_node: NodeFactory):
    rows, size = 10_000, 10_000  # 100 MB
    node = start_node(published.dsn, PGCAST_WINDOW_MB="32", PGCAST_IDLE_S="0")
    connections = await asyncio.gather(*(joined(node.url) for _ in range(49)))
    stopped = await joined(node.url)
    stopped.transport.pause_reading()
    highest = before = node.rss_bytes()
    readers = [Reader(connection, rows) for connection in connections]
    with published.connect() as writer:
        for first in range(1, rows + 1, 100):
            writer.execute(
                "insert into todos select n, repeat('x', %s) from generate_series(%s::int, %s::int) n",
                (size, first, first + 99),
            )
            # Readers of one Python process share its core: the stream must not outrun them by more than a ring.
            while min(reader.count for reader in readers) < first - 300:
                highest = max(highest, node.rss_bytes())
                await asyncio.sleep(0.01)
                assert not [reader.count for reader in readers if reader.task.done() and reader.count < rows]
    async with asyncio.timeout(60):
        await asyncio.gather(*(reader.task for reader in readers))
    assert [reader.count for reader in readers] == [rows] * 49
    # Ring 8 MB, window 32 MB, 256 kB and a tick for each client: far from the 100 MB that one reader did not take.
    assert highest - before < 90 * MB, f"{(highest - before) / MB:.0f} MB"
    stopped.transport.resume_reading()
    code, reason = await close_reason(stopped)
    assert (code, reason[:8]) == (1013, "too slow")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (0, 'still there')")
        assert (await client.change())["data"]["record"]["id"] == 0
    for connection in connections:
        await connection.close()


async def test_a_large_transaction_arrives_whole_at_a_client_that_reads_five_megabytes_a_second(
    node: Node, published: Database
):
    rows = 300_000
    reader = await joined(node.url)
    before = node.rss_bytes()
    highest = before
    beats = asyncio.create_task(heartbeats(reader))
    writing = asyncio.create_task(
        asyncio.to_thread(published.execute, f"insert into todos select n, 'row' from generate_series(1, {rows}) n")
    )
    started = time.monotonic()
    taken_bytes = count = 0
    async with asyncio.timeout(200):
        while count < rows:
            message = await reader.recv(decode=False)
            taken_bytes += len(message)
            if b'"postgres_changes"' in message[:60]:
                count += 1
                assert b'"record":{"id":%d,' % count in message
            ahead_s = taken_bytes / (5 * MB) - (time.monotonic() - started)
            if ahead_s > 0.02:
                highest = max(highest, node.rss_bytes())
                await asyncio.sleep(ahead_s)
    beats.cancel()
    await writing
    assert highest - before < 150 * MB, f"{(highest - before) / MB:.0f} MB"
    await reader.close()
