"""Transactions that are large, or unusual: every row arrives, in order, in bounded memory, and holds nobody up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

import pytest

from faults.flood import Flood
from faults.line import line_to
from fix_node import Node, NodeFactory
from fix_postgres import ClusterFactory
from pgcast.devdb.cluster import Cluster
from realtime_client import RealtimeClient

pytestmark = [pytest.mark.fault, pytest.mark.long, pytest.mark.timeout(300)]

MB = 1 << 20
ROWS = 1_000_000
ARRIVES_S = 150.0
WAL_SENDER_TIMEOUT_S = 3

TODOS = {"event": "*", "schema": "public", "table": "todos"}
OTHERS = {"event": "*", "schema": "public", "table": "others"}


def insert(cluster: Cluster, first: int, last: int, *, size: int = 10) -> None:
    """Write rows in one transaction."""
    with cluster.connect() as connection:
        connection.execute(
            "insert into todos select n, repeat('x', %s) from generate_series(%s::int, %s::int) n", (size, first, last)
        )


def pipelines_lost(node: Node) -> int:
    """How often the server had to connect to Postgres anew."""
    return sum("replication stream lost" in str(event.get("event")) for event in node.log_events())


@pytest.fixture
def impatient(own_cluster: ClusterFactory) -> Cluster:
    """A cluster that ends a stream whose reader says nothing for three seconds; with tables `todos` and `others`."""
    cluster = own_cluster(
        settings={
            "wal_sender_timeout": f"{WAL_SENDER_TIMEOUT_S}s",
            "max_wal_size": "8GB",
            "max_prepared_transactions": 5,
        }
    )
    with cluster.connect() as connection:
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create table others (id int8 primary key)")
        connection.execute("create publication supabase_realtime for all tables")
    return cluster


@pytest.fixture
def patient_node(impatient: Cluster, start_node: NodeFactory) -> Node:
    """A server on it that does not mind clients that send nothing."""
    return start_node(impatient.dsn(), PGCAST_IDLE_S="0")


class Watch:
    """What the others notice of a flood: heartbeats of an idle client, joins, and how much memory the server takes.

    Use with `async with`.

    Attributes:
        beats_s: How long each heartbeat took.
        joins_s: How long each join took, until its bindings were in force.
        highest: The most memory the server had.
    """

    def __init__(self, node: Node) -> None:
        self.beats_s: list[float] = []
        self.joins_s: list[float] = []
        self.highest = 0
        self._node = node
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(watch) for watch in (self._beat(), self._join(), self._weigh())]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results

    def check(self, *, least_beats: int = 5) -> None:
        """Nobody had to wait for the whole of it, and the memory stayed bounded."""
        assert len(self.beats_s) >= least_beats
        assert max(self.beats_s) < 2, f"a heartbeat took {max(self.beats_s):.2f} s"
        assert max(self.joins_s) < 2, f"a join took {max(self.joins_s):.2f} s"
        assert self.highest < 300 * MB, f"{self.highest / MB:.0f} MB"

    async def _beat(self) -> None:
        async with RealtimeClient(self._node.url) as client:
            await client.join("realtime:idle", OTHERS)
            while True:
                started_s = time.monotonic()
                ref = await client.push("phoenix", "heartbeat", join_ref=None)
                answer = await client.receive()
                assert (answer["ref"], answer["payload"]["status"]) == (ref, "ok"), "nothing else comes to it"
                self.beats_s.append(time.monotonic() - started_s)
                await asyncio.sleep(0.05)

    async def _join(self) -> None:
        for number in range(1_000_000):
            async with RealtimeClient(self._node.url) as client:
                started_s = time.monotonic()
                await client.join(f"realtime:late:{number}", OTHERS)
                self.joins_s.append(time.monotonic() - started_s)
            await asyncio.sleep(0.3)

    async def _weigh(self) -> None:
        while True:
            self.highest = max(self.highest, self._node.rss_bytes())
            await asyncio.sleep(0.01)


async def arrived(flood: Flood, rows: int, timeout_s: float = ARRIVES_S) -> None:
    """Wait until so many rows have come; fails at once when something was wrong with them."""
    ends_s = time.monotonic() + timeout_s
    while flood.count < rows:
        assert not flood.mistake, flood.mistake
        assert not flood.is_closed, f"closed after {flood.count} rows"
        assert time.monotonic() < ends_s, f"{flood.count} of {rows} rows came"
        await asyncio.sleep(0.01)


async def test_a_million_rows_arrive_while_they_are_read_and_nobody_waits_for_them(
    impatient: Cluster, start_node: NodeFactory
):
    async with line_to(impatient) as (line, dsn):
        node = await asyncio.to_thread(start_node, dsn, PGCAST_IDLE_S="0")
        async with Watch(node) as watch:
            async with Flood(node) as flood:
                await asyncio.to_thread(insert, impatient, 1, ROWS)
                await arrived(flood, 1)
                read_at_first = line.size_bytes
                await arrived(flood, ROWS)
            flood.check(ROWS)
            assert read_at_first < line.size_bytes / 4, "the first arrives when most is still with Postgres"
        watch.check()
        assert pipelines_lost(node) == 0


async def test_five_hundred_rows_of_two_megabytes_arrive(impatient: Cluster, patient_node: Node):
    async with Watch(patient_node) as watch:
        async with Flood(patient_node) as flood:
            await asyncio.to_thread(insert, impatient, 1, 500, size=2_000_000)
            await arrived(flood, 500)
        flood.check(500)
    assert flood.shortest > 2_000_000
    watch.check()
    assert pipelines_lost(patient_node) == 0


async def test_large_rows_for_many_topics_are_held_once(impatient: Cluster, patient_node: Node):
    async with Watch(patient_node) as watch, contextlib.AsyncExitStack() as floods:
        clients = [
            await floods.enter_async_context(Flood(patient_node, topic=f"realtime:{number}")) for number in range(40)
        ]
        await asyncio.to_thread(insert, impatient, 1, 10, size=2_000_000)
        for client in clients:
            await arrived(client, 10)
            client.check(10)
    watch.check(least_beats=1)


async def test_what_nobody_wants_is_read_without_delay(impatient: Cluster, patient_node: Node):
    async with RealtimeClient(patient_node.url) as client:
        await client.join("realtime:other", OTHERS)
        await asyncio.to_thread(insert, impatient, 1, 300_000)
        with impatient.connect() as connection:
            connection.execute("insert into others values (1)")
        change = await client.change(60)
    assert change["data"]["record"] == {"id": 1}
    assert pipelines_lost(patient_node) == 0


async def test_what_was_rolled_back_to_a_savepoint_does_not_come(impatient: Cluster, patient_node: Node):
    def write() -> None:
        with impatient.connect() as connection, connection.transaction():
            for first in range(0, 100_000, 10_000):
                rows = "insert into todos select n, 'row' from generate_series(%s::int, %s::int) n"
                connection.execute("savepoint one")
                connection.execute(rows, (first + 1, first + 10_000))
                connection.execute("rollback to savepoint one")
                connection.execute("savepoint two")
                connection.execute(rows, (first + 1, first + 5_000))
                connection.execute("release savepoint two")
                connection.execute(rows, (first + 5_001, first + 10_000))

    async with Flood(patient_node) as flood:
        await asyncio.to_thread(write)
        await arrived(flood, 100_000)
        await asyncio.sleep(0.3)
    flood.check(100_000)


async def test_a_prepared_transaction_comes_when_it_is_committed(impatient: Cluster, patient_node: Node):
    async with Flood(patient_node) as flood:
        connection = impatient.connect()
        for name, first in (("kept", 1), ("dropped", 100_001)):
            connection.execute("begin")
            connection.execute(f"insert into todos select n, 'row' from generate_series({first}, {first + 99_999}) n")
            connection.execute(f"prepare transaction '{name}'")
        connection.execute("rollback prepared 'dropped'")
        await asyncio.sleep(0.5)
        assert flood.count == 0
        connection.execute("commit prepared 'kept'")
        connection.close()
        await arrived(flood, 100_000)
        await asyncio.sleep(0.3)
    flood.check(100_000)


async def test_a_line_that_is_cut_in_the_middle_costs_those_who_stay_nothing(
    impatient: Cluster, start_node: NodeFactory
):
    async with line_to(impatient) as (line, dsn):
        node = await asyncio.to_thread(start_node, dsn, PGCAST_IDLE_S="0")
        async with Flood(node) as flood, Flood(node, topic="realtime:two") as second:
            await asyncio.to_thread(insert, impatient, 1, ROWS)
            for part in (ROWS // 4, ROWS // 2):
                await arrived(flood, part)
                line.cut()
            await arrived(flood, ROWS)
            await arrived(second, ROWS)
            await asyncio.sleep(0.3)
        flood.check(ROWS)
        second.check(ROWS)
        assert pipelines_lost(node) >= 2


async def test_a_walsender_that_is_ended_in_the_middle_costs_those_who_stay_nothing(
    impatient: Cluster, patient_node: Node
):
    connection = impatient.connect()
    async with Flood(patient_node) as flood:
        await asyncio.to_thread(insert, impatient, 1, ROWS)
        await arrived(flood, ROWS // 4)
        # One that is blocked in a write would not end before its timeout.
        end = "select pg_terminate_backend(pid) from pg_stat_activity"
        end += " where backend_type = 'walsender' and wait_event is distinct from 'WalSenderWriteData'"
        ended = False
        while not ended and flood.count < ROWS * 3 // 4:
            ended = connection.execute(end).fetchone() is not None
            await asyncio.sleep(0)
        connection.close()
        assert ended, "the walsender was always blocked"
        await arrived(flood, ROWS)
        await asyncio.sleep(0.3)
    flood.check(ROWS)
    assert pipelines_lost(patient_node) == 1


async def test_who_resumes_in_the_middle_gets_the_rest_however_slow(impatient: Cluster, start_node: NodeFactory):
    rows = 500_000
    node = start_node(impatient.dsn(), PGCAST_IDLE_S="0")
    async with Flood(node) as flood:
        await asyncio.to_thread(insert, impatient, 1, rows)
        await arrived(flood, rows // 3)
        node.kill()
        await asyncio.sleep(0.2)
    await asyncio.to_thread(node.start)
    async with Watch(node) as watch:
        # The stream, which begins anew, is several times quicker.
        async with Flood(node, rate=10 * MB, since=flood.position()) as resumed:
            resumed.count = flood.count
            await arrived(resumed, rows)
            await asyncio.sleep(0.3)
        resumed.check(rows)
    watch.check()


async def test_a_slow_client_and_a_quick_one_on_topics_of_their_own_both_get_everything(
    impatient: Cluster, patient_node: Node
):
    rows = 300_000
    async with Watch(patient_node) as watch:
        async with Flood(patient_node, rate=5 * MB, topic="realtime:slow") as slow, Flood(patient_node) as quick:
            await asyncio.to_thread(insert, impatient, 1, rows)
            await arrived(quick, rows)
            await arrived(slow, rows)
        quick.check(rows)
        slow.check(rows)
    watch.check()
    assert pipelines_lost(patient_node) == 0


async def test_a_client_that_crawls_holds_nobody_for_longer_than_it_may(impatient: Cluster, start_node: NodeFactory):
    rows, hold_s = 300_000, 2
    node = start_node(impatient.dsn(), PGCAST_IDLE_S="0", PGCAST_HOLD_S=str(hold_s))
    async with Watch(node) as watch:
        async with Flood(node, rate=100_000, topic="realtime:crawl") as crawling, Flood(node) as quick:
            started_s = time.monotonic()
            await asyncio.to_thread(insert, impatient, 1, rows)
            await arrived(quick, rows)
            assert quick.last_at_s - started_s < hold_s + 15, "at 100 kB/s it would have taken a quarter of an hour"
            assert quick.longest_wait_s < hold_s + 10
            assert crawling.count < rows // 10
        quick.check(rows)
        # Where the others were quick enough for the window to pass it, it has been told.
        assert not crawling.mistake or "too slow" in crawling.mistake
    watch.check()
    assert pipelines_lost(node) == 0


async def test_a_join_to_the_flooded_table_gets_exactly_what_it_does_not_see(impatient: Cluster, patient_node: Node):
    rows = 300_000
    async with Flood(patient_node) as flood:
        await asyncio.to_thread(insert, impatient, 1, rows)
        await arrived(flood, rows // 10)
        async with RealtimeClient(patient_node.url) as client:
            started_s = time.monotonic()
            ref = await client.push("realtime:late", "phx_join", {"config": {"postgres_changes": [TODOS]}})
            await client.receive_until(lambda message: message["ref"] == ref)
            assert time.monotonic() - started_s < 2
            assert flood.count < rows
            await asyncio.to_thread(insert, impatient, rows + 1, rows + 1)
            first = await client.change(60)
        await arrived(flood, rows + 1)
    flood.check(rows + 1)
    assert first["data"]["record"]["id"] == rows + 1
