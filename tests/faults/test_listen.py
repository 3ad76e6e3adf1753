"""Programs that listen: killed, cut off, slow, and robbed of their slot. Counts what they got."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pgcast
from fix_node import clean_environment
from listened import DEADLINE_S, SLOT, ids, run, some

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fix_postgres import ClusterFactory
    from pgcast.devdb.cluster import Cluster
    from pgcast.devdb.template import Database


@pytest.fixture
def todos(published: Database) -> Database:
    return published


@pytest.mark.fault
async def test_a_restart_of_postgres_repeats_nothing_and_loses_nothing(own_cluster: ClusterFactory):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")
        connection.execute("insert into todos values (1)")
    async with pgcast.listen(cluster.dsn(), slot=SLOT) as changes:
        await asyncio.to_thread(_insert, cluster, 2)
        assert await ids(changes, 1) == [2]
        await asyncio.to_thread(cluster.restart)
        await asyncio.to_thread(_insert, cluster, 3)
        assert await ids(changes, 1) == [3]


def _insert(cluster: Cluster, number: int) -> None:
    with cluster.connect() as connection:
        connection.execute(f"insert into todos values ({number})")


@pytest.mark.fault
async def test_a_connection_that_breaks_in_the_middle_of_a_transaction_repeats_nothing(todos: Database):
    count = 30_000
    async with pgcast.listen(todos.dsn, slot=SLOT) as changes:
        await run(todos, f"insert into todos select generate_series(1, {count})")
        got = await ids(changes, 5_000)
        await run(
            todos, f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{SLOT}'"
        )
        got += await ids(changes, count - 5_000)
    assert got == list(range(1, count + 1))


@pytest.mark.fault
async def test_a_lost_slot_is_told_in_its_place_and_the_iterator_goes_on(todos: Database):
    async with pgcast.listen(todos.dsn, slot=SLOT) as changes:
        await run(todos, "insert into todos values (1), (2)")
        assert await ids(changes, 1) == [1]
        await _drop_slot(todos)
        assert await ids(changes, 1) == [2], "what has been read already comes first"
        with pytest.raises(pgcast.GapDetected, match="lost") as raised:
            await some(changes, 1)
        assert "read the tables again" in raised.value.hint
        await run(todos, "insert into todos values (3)")
        assert await ids(changes, 1) == [3]


@pytest.mark.fault
async def test_a_temporary_slot_that_went_with_its_connection_is_told_too(todos: Database):
    async with pgcast.listen(todos.dsn) as changes:
        await run(todos, "insert into todos values (1)")
        assert await ids(changes, 1) == [1]
        await run(todos, "select pg_terminate_backend(active_pid) from pg_replication_slots where temporary")
        with pytest.raises(pgcast.GapDetected):
            await some(changes, 1)
        await run(todos, "insert into todos values (2)")
        assert await ids(changes, 1) == [2]


@pytest.mark.fault
def test_a_gap_is_told_without_an_event_loop_too(todos: Database):
    with pgcast.listen_sync(todos.dsn) as changes:
        todos.execute("insert into todos values (1)")
        assert (next(changes).record or {})["id"] == 1
        todos.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where temporary")
        with pytest.raises(pgcast.GapDetected):
            next(changes)
        todos.execute("insert into todos values (2)")
        assert (next(changes).record or {})["id"] == 2


async def _drop_slot(database: Database) -> None:
    """Take the slot away from its reader, however quick that is to come back."""
    statement = f"""
        do $$ begin
            for attempt in 1 .. 200 loop
                begin
                    perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{SLOT}';
                    perform pg_sleep(0.01);
                    perform pg_drop_replication_slot('{SLOT}');
                    return;
                exception when object_in_use then null;
                end;
            end loop;
            raise 'not dropped';
        end $$"""
    await run(database, statement)


@pytest.mark.fault
@pytest.mark.postgres(13, why="Postgres keeps all the WAL that a slot needs")
async def test_a_slot_that_was_invalidated_while_the_program_was_away_is_told_at_once(own_cluster: ClusterFactory):
    cluster = own_cluster(settings={"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"})
    with cluster.connect() as connection:
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")
        async with pgcast.listen(cluster.dsn(), slot=SLOT):
            pass
        for _ in range(40):
            connection.execute("select pg_switch_wal(), pg_logical_emit_message(false, 'x', repeat('x', 1000000))")
        connection.execute("checkpoint")
    async with pgcast.listen(cluster.dsn(), slot=SLOT) as changes:
        with pytest.raises(pgcast.GapDetected):
            await some(changes, 1)
        await asyncio.to_thread(_insert, cluster, 3)
        assert await ids(changes, 1) == [3]


@pytest.mark.fault
async def test_a_slow_consumer_pauses_the_reading_in_bounded_memory_and_is_never_cut_off(own_cluster: ClusterFactory):
    cluster = own_cluster(settings={"wal_sender_timeout": "2s"})
    count = 100_000
    with cluster.connect() as connection:
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")
    async with pgcast.listen(cluster.dsn(), slot=SLOT) as changes:
        before = _memory_bytes()
        with cluster.connect() as connection:
            connection.execute(f"insert into todos select g, repeat('x', 500) from generate_series(1, {count}) g")
            (pid,) = connection.execute("select active_pid from pg_replication_slots").fetchone() or (None,)
        assert (await ids(changes, 1)) == [1]
        await asyncio.sleep(4.5)  # two timeouts, in which nobody reads
        grown = _memory_bytes() - before
        expected = 1
        async with asyncio.timeout(60):
            async for change in changes:
                expected += 1
                assert change.record is not None
                assert change.record["id"] == expected
                if expected == count:
                    break
        with cluster.connect() as connection:
            assert connection.execute("select active_pid from pg_replication_slots").fetchone() == (pid,)
    assert grown < 48 << 20, f"{grown >> 20} MB for 50 MB of rows that wait"


def _memory_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault
async def test_a_consumer_that_holds_everything_up_does_not_hold_up_a_stopping_postgres(own_cluster: ClusterFactory):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("create table todos (id int8 primary key, title text)")
        connection.execute("create publication supabase_realtime for all tables")
    async with pgcast.listen(cluster.dsn(), slot=SLOT) as changes:
        with cluster.connect() as connection:
            connection.execute("insert into todos select g, repeat('x', 500) from generate_series(1, 50000) g")
        assert (await ids(changes, 1)) == [1]
        started = time.monotonic()
        await asyncio.to_thread(cluster.stop)
        assert time.monotonic() - started < 15


PROGRAM = """
import asyncio, sys, pgcast

async def main():
    async with pgcast.listen(sys.argv[1], slot="worker") as changes:
        print("ready", flush=True)
        async for change in changes:
            print(change.record["id"], flush=True)
            await asyncio.sleep(0.01)

asyncio.run(main())
"""


@pytest.mark.fault
async def test_killed_and_started_again_a_program_gets_everything_that_it_had_not_acknowledged(todos: Database):
    got: list[int] = []
    written = 0
    for _ in range(4):
        async with _program(todos.dsn) as process:
            assert process.stdout is not None
            for _ in range(20):
                written += 1
                await run(todos, f"insert into todos values ({written})")
            for _ in range(10):
                async with asyncio.timeout(DEADLINE_S):
                    got.append(int(await process.stdout.readline()))
    async with _program(todos.dsn) as process:
        assert process.stdout is not None
        while not got or got[-1] < written:
            async with asyncio.timeout(DEADLINE_S):
                got.append(int(await process.stdout.readline()))
    assert sorted(set(got)) == list(range(1, written + 1))
    for before, after in itertools.pairwise(got):
        assert after <= before + 1, "in order, and only what was had already comes again"


@asynccontextmanager
async def _program(dsn: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that listens, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        dsn,
        env=clean_environment(),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            assert (await process.stdout.readline()) == b"ready\n"
        yield process
    finally:
        process.kill()
        await process.wait()
