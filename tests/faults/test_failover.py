"""Another server in the primary's place: one that has everything, and one that lacks the end of what was delivered."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from faults.following import TODOS
from fix_messages import hear, initialize
from fix_node import NodeFactory
from fix_postgres import ClusterFactory
from pgcast.devdb.cluster import Cluster
from realtime_client import RealtimeClient

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(120),
    pytest.mark.postgres(12, why="a standby is told so in recovery.conf, in another way"),
]


def insert(cluster: Cluster, first: int, last: int) -> None:
    with cluster.connect() as connection:
        connection.execute(f"insert into todos select n, 'x' from generate_series({first}, {last}) n")


def keep(cluster: Cluster, copy: Path) -> None:
    """Copy the data directory of a cluster that is stopped: what a standby, and its copy of the slot, have."""
    subprocess.run(["/bin/cp", "-Rp", str(cluster.data), str(copy)], check=True)


def put_back(cluster: Cluster, copy: Path) -> None:
    shutil.rmtree(cluster.data)
    subprocess.run(["/bin/cp", "-Rp", str(copy), str(cluster.data)], check=True)


def promote(cluster: Cluster) -> None:
    """Start what is there as a standby, and make it a primary: it begins a timeline of its own."""
    marker = cluster.data / "standby.signal"
    marker.touch()
    owner = cluster.data.stat()
    shutil.chown(marker, owner.st_uid, owner.st_gid)
    cluster.start()
    with cluster.connect() as connection:
        assert connection.execute("select pg_promote()").fetchone() == (True,)


@pytest.fixture
def prepared(own_cluster: ClusterFactory) -> Cluster:
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")
    return cluster


async def ids(client: RealtimeClient, count: int) -> list[int]:
    return [change["record"]["id"] for change in await client.changes(count)]


@pytest.mark.parametrize(
    "writes_much", [pytest.param(False, id="behind", marks=pytest.mark.long), pytest.param(True, id="ahead")]
)
async def test_a_server_that_lacks_what_was_delivered_is_a_gap_that_is_told(
    prepared: Cluster,
    start_node: NodeFactory,
    tmp_path: Path,
    *,
    writes_much: bool,
):
    """However far the new one has come meanwhile: its timeline says where it left the old one."""
    node = start_node(prepared.dsn())
    async with RealtimeClient(node.url, resume="me") as client:
        await client.join("realtime:room", TODOS)
        insert(prepared, 1, 1)
        assert await ids(client, 1) == [1]
        await asyncio.to_thread(prepared.stop)
        keep(prepared, tmp_path / "copy")
        await asyncio.to_thread(prepared.start)
        await asyncio.to_thread(insert, prepared, 101, 110)
        lost = await client.changes(10)
        await asyncio.to_thread(prepared.stop)
        put_back(prepared, tmp_path / "copy")
        if writes_much:
            # Before pgcast comes back to it.
            os.kill(node.pid, signal.SIGSTOP)
        await asyncio.to_thread(promote, prepared)
        if writes_much:
            await asyncio.to_thread(insert, prepared, 201, 5000)
            os.kill(node.pid, signal.SIGCONT)
        else:
            await asyncio.to_thread(insert, prepared, 201, 201)
        told = await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected", 30)
        assert told["payload"]["status"] == "ok"
        await asyncio.to_thread(insert, prepared, 9999, 9999)
        got: list[int] = []
        while 9999 not in got:
            got += await ids(client, 1)
        assert not set(got) & {*range(101, 111)}
    assert "the server lacks changes that were delivered" in node.log()
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": lost[-1]["position"]}, subscribed=False)
        await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected")


@pytest.mark.postgres(14, why="messages without a table are read from 14 on")
async def test_broadcasts_that_both_servers_have_do_not_come_twice(
    prepared: Cluster, start_node: NodeFactory, tmp_path: Path
):
    await asyncio.to_thread(initialize, prepared.dsn(), has_realtime=True)

    def send(number: int) -> None:
        with prepared.connect() as connection:
            connection.execute("select realtime.send(to_jsonb(%s), 'n', 'room', false)", [number])
            connection.execute("select pgcast.send('room', 'n', to_jsonb(%s), false)", [number])

    node = start_node(prepared.dsn())
    async with RealtimeClient(node.url) as client:
        await client.push("realtime:room", "phx_join", {"config": {"presence": {"enabled": False}}})
        await asyncio.to_thread(send, 1)
        heard = [(await hear(client)).payload["payload"] for _ in range(2)]
        await asyncio.to_thread(prepared.stop)
        keep(prepared, tmp_path / "copy")
        await asyncio.to_thread(prepared.start)
        await asyncio.to_thread(send, 2)
        heard += [(await hear(client)).payload["payload"] for _ in range(2)]
        await asyncio.to_thread(prepared.stop)
        put_back(prepared, tmp_path / "copy")
        os.kill(node.pid, signal.SIGSTOP)  # until it is promoted
        await asyncio.to_thread(promote, prepared)
        await asyncio.to_thread(send, 3)
        os.kill(node.pid, signal.SIGCONT)
        heard += [(await hear(client)).payload["payload"] for _ in range(2)]
    assert heard == [1, 1, 2, 2, 3, 3]
    assert "the server lacks changes that were delivered" in node.log()


async def test_a_server_that_has_everything_goes_on_without_a_gap(prepared: Cluster, start_node: NodeFactory):
    node = start_node(prepared.dsn())
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        await asyncio.to_thread(insert, prepared, 1, 10)
        assert await ids(client, 10) == [*range(1, 11)]
        await asyncio.to_thread(prepared.stop)
        await asyncio.to_thread(promote, prepared)
        await asyncio.to_thread(insert, prepared, 11, 20)
        assert await ids(client, 10) == [*range(11, 21)]
        await client.nothing_more()
    assert "lacks" not in node.log()


@pytest.mark.long
async def test_a_copy_that_was_put_back_is_recognised_by_its_end(
    prepared: Cluster, start_node: NodeFactory, tmp_path: Path
):
    """A disk that was restored: the timeline is the same."""
    node = start_node(prepared.dsn())
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        await asyncio.to_thread(prepared.stop)
        keep(prepared, tmp_path / "copy")
        await asyncio.to_thread(prepared.start)
        await asyncio.to_thread(insert, prepared, 101, 1000)
        assert (await ids(client, 900))[-1] == 1000
        await asyncio.to_thread(prepared.stop)
        put_back(prepared, tmp_path / "copy")
        await asyncio.to_thread(prepared.start)
        await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected", 30)
        await asyncio.to_thread(insert, prepared, 1, 1)
        assert await ids(client, 1) == [1]
