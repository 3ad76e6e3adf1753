"""The database and the role pulled away from under the server, and put back: it waits, says why, and goes on."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import psycopg
import pytest

from faults.following import TODOS
from fix_node import Node, NodeFactory
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]

BACKOFF = {"DB_RECONNECT_BACKOFF_MIN": "50", "DB_RECONNECT_BACKOFF_MAX": "500"}


async def eventually(check: Callable[[], bool], timeout_s: float = 30) -> None:
    ends_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(check):
        assert time.monotonic() < ends_s, "it did not happen in time"
        await asyncio.sleep(0.1)


def why_not_ready(node: Node) -> str:
    try:
        with urllib.request.urlopen(f"{node.http_url}/ready", timeout=2):
            return ""
    except urllib.error.HTTPError as error:
        return str(json.load(error)["reason"])


@pytest.fixture
def admin(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with cluster.connect() as connection:
        yield connection


def empty(admin: psycopg.Connection, name: str) -> None:
    """End all connections to a database, and let nobody in."""
    admin.execute(f'alter database "{name}" allow_connections false')
    pids = "from pg_stat_activity where datname = %s"
    ends_s = time.monotonic() + 20
    while admin.execute(f"select count(pg_terminate_backend(pid)) {pids}", (name,)).fetchone() != (0,):
        assert time.monotonic() < ends_s
        time.sleep(0.05)


async def test_a_database_that_is_renamed_is_waited_for_and_nothing_lost(
    published: Database, start_node: NodeFactory, admin: psycopg.Connection
):
    node = start_node(published.dsn, **BACKOFF)
    name = published.name
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        await asyncio.to_thread(empty, admin, name)
        admin.execute(f'alter database "{name}" rename to "{name}_away"')
        await eventually(lambda: f'database "{name}" does not exist' in why_not_ready(node))
        admin.execute(f'alter database "{name}_away" allow_connections true')
        with psycopg.connect(published.dsn.replace(name, f"{name}_away"), autocommit=True) as connection:
            connection.execute("insert into todos values (1, 'x')")
        await asyncio.to_thread(empty, admin, f"{name}_away")
        admin.execute(f'alter database "{name}_away" rename to "{name}"')
        admin.execute(f'alter database "{name}" allow_connections true')
        assert (await client.change(30))["data"]["record"]["id"] == 1


async def test_a_database_that_is_dropped_and_made_anew_is_a_gap_that_is_told(
    published: Database, start_node: NodeFactory, admin: psycopg.Connection
):
    node = start_node(published.dsn, **BACKOFF)
    name = published.name
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        await asyncio.to_thread(empty, admin, name)
        admin.execute(f'drop database "{name}"')
        await eventually(lambda: f'database "{name}" does not exist' in why_not_ready(node))
        admin.execute(f'create database "{name}"')
        await eventually(lambda: "no publication" in why_not_ready(node))
        published.execute("create table todos (id int8 primary key, title text)")
        published.execute("create publication supabase_realtime for all tables")
        await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected", 30)
        published.execute("insert into todos values (1, 'x')")
        assert (await client.change())["data"]["record"]["id"] == 1


async def test_a_role_that_loses_its_right_gets_it_back_and_nothing_is_lost(
    published: Database, start_node: NodeFactory, cluster: Cluster, admin: psycopg.Connection
):
    """An open stream goes on; it is the next one that is refused."""
    role = f"role_{published.name}"
    admin.execute(f'create role "{role}" login replication')
    try:
        node = start_node(published.dsn.replace("//postgres@", f"//{role}@"), **BACKOFF)
        async with RealtimeClient(node.url) as client:
            await client.join("realtime:room", TODOS)
            admin.execute(f'alter role "{role}" noreplication')
            published.execute("insert into todos values (1, 'x')")
            assert (await client.change())["data"]["record"]["id"] == 1
            admin.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                (node.environment["SLOT_NAME"],),
            )
            await eventually(lambda: f'ALTER ROLE "{role}" WITH REPLICATION' in why_not_ready(node))
            published.execute("insert into todos values (2, 'x')")
            admin.execute(f'alter role "{role}" replication')
            assert (await client.change(30))["data"]["record"]["id"] == 2
        node.stop()
    finally:
        admin.execute(f'drop role "{role}"')
