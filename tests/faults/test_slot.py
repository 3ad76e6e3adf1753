"""The slot as a guest: pulled away, invalidated, stuck, over its limit; and Postgres never held up by it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from urllib.parse import quote

import psycopg
import pytest

from faults.following import TODOS, changes, joined
from fix_node import Node, NodeFactory
from fix_postgres import ClusterFactory
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]


def prepare(cluster: Cluster) -> None:
    with cluster.connect() as connection:
        connection.autocommit = True
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")


def execute(cluster: Cluster, *statements: str) -> None:
    with cluster.connect() as connection:
        connection.autocommit = True
        for statement in statements:
            connection.execute(statement)


async def eventually(check: object, timeout_s: float = 30) -> None:
    """Wait until a function says so."""
    ends = time.monotonic() + timeout_s
    while not await asyncio.to_thread(check):  # type: ignore[arg-type]
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.1)


def why_not_ready(node: Node) -> str | None:
    try:
        with urllib.request.urlopen(f"{node.http_url}/ready", timeout=2):
            return None
    except urllib.error.HTTPError as error:
        return json.load(error)["reason"]


async def gap(client: RealtimeClient) -> dict[str, object]:
    message = await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected", 30)
    return message["payload"]


async def test_a_slot_dropped_while_the_server_was_away_is_made_anew_and_the_gap_told(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, 'x')")
        position = (await client.change())["data"]["position"]
        node.kill()
    slot = node.environment["SLOT_NAME"]
    await eventually(
        lambda: not published.execute(f"select active from pg_replication_slots where slot_name = '{slot}'")[0][0]
    )
    published.execute(f"select pg_drop_replication_slot('{slot}')")
    published.execute("insert into todos values (2, 'lost')")
    await asyncio.to_thread(node.start)
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": position}, subscribed=False)
        await gap(client)
        published.execute("insert into todos values (3, 'live')")
        assert (await client.change())["data"]["record"]["id"] == 3


@pytest.mark.postgres(11, why="pg_replication_slot_advance came with version 11")
async def test_a_slot_that_somebody_else_has_consumed_meanwhile_is_a_gap_that_is_told(node: Node, published: Database):
    """As when a second server takes the slot over while the first one's network is away."""
    slot = node.environment["SLOT_NAME"]

    def is_free() -> bool:
        return not published.execute(f"select active from pg_replication_slots where slot_name = '{slot}'")[0][0]

    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, 'x')")
        position = (await client.change())["data"]["position"]
        os.kill(node.pid, signal.SIGSTOP)
        try:
            published.execute(
                f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'"
            )
            await eventually(is_free)
            published.execute("insert into todos values (2, 'lost')")
            published.execute(f"select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())")
        finally:
            os.kill(node.pid, signal.SIGCONT)
        await gap(client)
        published.execute("insert into todos values (3, 'live')")
        assert (await client.change())["data"]["record"]["id"] == 3
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": position}, subscribed=False)
        await gap(client)


@pytest.mark.postgres(13, why="max_slot_wal_keep_size came with version 13")
async def test_an_invalidated_slot_is_made_anew_and_every_client_told(
    own_cluster: ClusterFactory, start_node: NodeFactory
):
    cluster = own_cluster(
        settings={"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB", "wal_keep_size": 0}
    )
    prepare(cluster)
    node = start_node(cluster.dsn())
    slot = node.environment["SLOT_NAME"]
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "event": "INSERT"})

        def invalidate() -> bool:
            execute(
                cluster,
                "create table if not exists ballast (x text)",
                "begin; insert into ballast select repeat('x', 1000) from generate_series(1, 20000); rollback",
                "select pg_switch_wal()",
                "checkpoint",
            )
            with cluster.connect() as connection:
                row = connection.execute(
                    f"select wal_status, restart_lsn is null from pg_replication_slots where slot_name = '{slot}'"
                ).fetchone()
            return row is None or row[0] == "lost" or row[1] or "made anew" in node.log()

        await eventually(invalidate)
        await gap(client)
        await eventually(lambda: why_not_ready(node) is None)
        execute(cluster, "insert into todos values (1, 'live')")
        assert (await client.change())["data"]["record"]["id"] == 1


@pytest.mark.parametrize(
    ("away", "back"),
    [
        ("drop publication supabase_realtime", "create publication supabase_realtime for all tables"),
        ("alter publication supabase_realtime rename to p", "alter publication p rename to supabase_realtime"),
    ],
    ids=["dropped", "renamed"],
)
async def test_a_publication_that_was_away_is_a_gap_that_is_told(node: Node, published: Database, away: str, back: str):
    """From 18 on Postgres drops the changes in silence; before, the slot is stuck for good."""
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        published.execute(away)
        published.execute("insert into todos values (1, 'lost')")
        await eventually(lambda: "supabase_realtime" in (why_not_ready(node) or ""))
        published.execute(back)
        await gap(client)
        await eventually(lambda: why_not_ready(node) is None)
        published.execute("insert into todos values (2, 'live')")
        assert (await client.change())["data"]["record"]["id"] == 2


async def test_a_terminated_walsender_loses_nothing(node: Node, published: Database):
    socket = await joined(node.url)
    reading = changes(socket)
    for number in range(1, 6):
        published.execute(f"insert into todos values ({number}, 'x')")
        if number in {2, 4}:
            published.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s",
                (node.environment["SLOT_NAME"],),
            )
    async with asyncio.timeout(30):
        assert [(await anext(reading))["record"]["id"] for _ in range(5)] == [1, 2, 3, 4, 5]
    await socket.close()


async def test_a_fast_stop_of_postgres_is_not_held_up_by_a_client_that_reads_nothing(
    own_cluster: ClusterFactory, start_node: NodeFactory
):
    cluster = own_cluster()
    prepare(cluster)
    node = start_node(cluster.dsn(), PGCAST_HOLD_S="60")
    stopped = await joined(node.url)
    stopped.transport.pause_reading()
    execute(cluster, "insert into todos select n, repeat('x', 1000) from generate_series(1, 30000) n")
    await asyncio.sleep(0.3)
    started = time.monotonic()
    await asyncio.to_thread(cluster.stop, "fast", deadline_s=30)
    assert time.monotonic() - started < 15
    await asyncio.to_thread(cluster.start)
    await eventually(lambda: why_not_ready(node) is None)
    stopped.transport.abort()


async def test_a_quiet_database_does_not_pin_what_its_neighbours_write(
    own_cluster: ClusterFactory, start_node: NodeFactory
):
    cluster = own_cluster()
    prepare(cluster)
    execute(cluster, "create database neighbour")
    node = start_node(cluster.dsn(), PGCAST_WINDOW_S="1")
    slot = node.environment["SLOT_NAME"]
    with psycopg.connect(cluster.dsn("neighbour"), autocommit=True) as neighbour:
        neighbour.execute("create table ballast as select repeat('x', 1000) from generate_series(1, 30000)")

        def is_confirmed() -> bool:
            row = neighbour.execute(
                "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) from pg_replication_slots"
                " where slot_name = %s",
                (slot,),
            ).fetchone()
            assert row is not None
            return row[0] < 1_000_000

        await eventually(is_confirmed)


async def test_over_the_limit_the_window_is_given_up_first(own_cluster: ClusterFactory, start_node: NodeFactory):
    cluster = own_cluster()
    prepare(cluster)
    node = start_node(cluster.dsn(), MAX_REPLICATION_LAG_MB="8", PGCAST_WINDOW_MB="256")
    slot = node.environment["SLOT_NAME"]
    # In several transactions: while one is being written, what of it Postgres has read already may be confirmed.
    for first in range(0, 15_000, 1000):
        rows = f"select n, repeat('x', 1000) from generate_series({first}, {first + 999}) n"
        execute(cluster, f"insert into todos {rows}")

    def lag() -> int:
        with cluster.connect() as connection:
            row = connection.execute(
                "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8 from pg_replication_slots"
                f" where slot_name = '{slot}'"
            ).fetchone()
        assert row is not None
        return int(row[0])

    await eventually(lambda: "the window is given up" in node.log() and lag() < 8 << 20)
    assert "made anew" not in node.log()


@pytest.mark.parametrize(
    ("names", "application_name"), [("*", "pgcast"), ('FIRST 1 ("Web.Shop (1)", other)', "web.shop (1)")]
)
async def test_commits_do_not_hang_where_everybody_counts_as_a_standby(
    own_cluster: ClusterFactory, start_node: NodeFactory, names: str, application_name: str
):
    cluster = own_cluster()
    prepare(cluster)
    node = start_node(f"{cluster.dsn()}&application_name={quote(application_name)}")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        execute(cluster, f"alter system set synchronous_standby_names = '{names}'", "select pg_reload_conf()")
        await eventually(lambda: "synchronous standby" in node.log())
        started = time.monotonic()
        await asyncio.to_thread(execute, cluster, "insert into todos values (1, 'x')")
        assert (await client.change())["data"]["record"]["id"] == 1
        assert time.monotonic() - started < 5
        execute(cluster, "alter system reset synchronous_standby_names", "select pg_reload_conf()")


async def test_a_failover_slot_is_made_where_postgres_has_them(
    published: Database, start_node: NodeFactory, postgres_version: int
):
    node = start_node(published.dsn, start=False, PGCAST_FAILOVER_SLOT="true")
    if postgres_version >= 17:
        node.start()
        slot = node.environment["SLOT_NAME"]
        assert published.execute(f"select failover from pg_replication_slots where slot_name = '{slot}'") == [(True,)]
    else:
        node.start(wait=False)
        assert node.process is not None
        assert node.process.wait(20) == 1
        assert "failover slots need PostgreSQL 17 or newer" in node.log()


async def test_a_silent_server_is_not_ready_within_seconds_and_comes_back(
    own_cluster: ClusterFactory, start_node: NodeFactory
):
    cluster = own_cluster()
    prepare(cluster)
    node = start_node(cluster.dsn())
    slot = node.environment["SLOT_NAME"]
    with cluster.connect() as connection:
        row = connection.execute(f"select active_pid from pg_replication_slots where slot_name = '{slot}'").fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGSTOP)
    try:
        started = time.monotonic()
        await eventually(lambda: "silent" in (why_not_ready(node) or ""))
        assert time.monotonic() - started < 15
    finally:
        os.kill(row[0], signal.SIGCONT)
    await eventually(lambda: why_not_ready(node) is None)


async def test_a_slot_that_a_hung_predecessor_holds_is_taken_once_postgres_frees_it(
    own_cluster: ClusterFactory, start_node: NodeFactory
):
    """Nobody ends its walsender: one that is blocked in a write would be wedged by that."""
    cluster = own_cluster(settings={"wal_sender_timeout": "3s"})
    prepare(cluster)
    first = start_node(cluster.dsn())
    os.kill(first.pid, signal.SIGSTOP)
    try:
        execute(cluster, "insert into todos values (1, 'x')")
        second = await asyncio.to_thread(start_node, cluster.dsn(), SLOT_NAME=first.environment["SLOT_NAME"])
        async with RealtimeClient(second.url) as client:
            await client.join("realtime:room", TODOS)
            execute(cluster, "insert into todos values (2, 'x')")
            assert (await client.change())["data"]["record"]["id"] == 2
    finally:
        os.kill(first.pid, signal.SIGCONT)
    await eventually(lambda: "is active for PID" in (why_not_ready(first) or ""))
    second.stop()
    await eventually(lambda: why_not_ready(first) is None)
