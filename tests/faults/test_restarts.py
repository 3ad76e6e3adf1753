"""The server killed, and Postgres restarted, while rows are written: what resumes gets all, what joins gets the new."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Self

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection

from faults.following import TODOS, changes, joined, joined_when_possible
from fix_node import Node, NodeFactory
from fix_postgres import ClusterFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]


class Writer:
    """Writes rows one by one from a thread, over restarts of Postgres; remembers which were committed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.last = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _write(self) -> None:
        while not self._stop.is_set():
            with (
                contextlib.suppress(psycopg.OperationalError),
                psycopg.connect(self._dsn, autocommit=True) as connection,
            ):
                row = connection.execute("select coalesce(max(id), 0) from todos").fetchone()
                assert row is not None
                self.last = row[0]
                while not self._stop.is_set():
                    connection.execute("insert into todos values (%s, 'row')", (self.last + 1,))
                    self.last += 1
                    time.sleep(0.001)
            time.sleep(0.05)


class Follower:
    """Follows todos, resuming from its last position whenever its connection ends."""

    def __init__(self, node: Node, socket: ClientConnection) -> None:
        self._node = node
        self._socket = socket
        self.got: list[tuple[str, int]] = []
        self.connections = 1
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            async for data in changes(self._socket):
                self.got.append((data["position"], data["record"]["id"]))
            position = self.got[-1][0]
            self._socket = await joined_when_possible(self._node.url, since=position)
            self.connections += 1

    async def has(self, last: int, timeout_s: float = 40) -> None:
        async with asyncio.timeout(timeout_s):
            while not self.got or self.got[-1][1] < last:
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._socket.close()


def table_ids(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("select id from todos order by id")]


def assert_whole(follower: Follower, ids: list[int]) -> None:
    assert [number for _, number in follower.got] == ids
    positions = [position for position, _ in follower.got]
    assert positions == sorted(set(positions))


async def test_a_killed_server_loses_nothing_for_those_who_resume(node: Node, published: Database):
    follower = Follower(node, await joined(node.url))
    with Writer(published.dsn) as writer:
        for _ in range(3):
            await asyncio.sleep(0.7)
            node.kill()
            await asyncio.sleep(0.2)
            await asyncio.to_thread(node.start)
            await follower.has(writer.last)
    await follower.has(writer.last)
    await follower.close()
    assert follower.connections == 4
    assert_whole(follower, table_ids(published.dsn))


async def test_a_client_that_joins_a_restarted_server_gets_nothing_from_before(node: Node, published: Database):
    with Writer(published.dsn) as writer:
        await asyncio.sleep(0.5)
        node.kill()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(node.start)
        async with RealtimeClient(node.url) as client:
            before = writer.last
            await client.join("realtime:room", TODOS)
            after = writer.last + 20
            got = []
            while not got or got[-1] < after:
                got.append((await client.change())["data"]["record"]["id"])
    assert got[0] > before
    assert got == list(range(got[0], got[0] + len(got)))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restarted_postgres_loses_nothing_and_the_server_stays_up(
    own_cluster: ClusterFactory, start_node: NodeFactory, mode: str
):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.autocommit = True
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")
    node = start_node(cluster.dsn())
    pid = node.pid
    follower = Follower(node, await joined(node.url))
    with Writer(cluster.dsn()) as writer:
        for _ in range(2):
            await asyncio.sleep(0.7)
            await asyncio.to_thread(cluster.restart, mode)
            await asyncio.sleep(0.3)
            await follower.has(writer.last)
    await follower.has(writer.last)
    ids = table_ids(cluster.dsn())
    await follower.close()
    assert (node.pid, follower.connections) == (pid, 1)
    assert node.process is not None
    assert node.process.poll() is None
    assert_whole(follower, ids)
