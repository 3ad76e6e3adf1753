"""What a publication lets through: actions, rows, columns, several at once, tables that come later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from fix_node import NodeFactory
from fix_place import rows_of
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

EVERYTHING = {"event": "*", "schema": "*"}

filtered = pytest.mark.postgres(15, why="row filters and column lists came with version 15")


async def eventually(check: Callable[[], bool], timeout_s: float = 20) -> None:
    ends_s = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < ends_s, "it did not happen in time"
        await asyncio.sleep(0.05)


async def test_actions_that_are_not_published_do_not_come(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key, b int);
        create publication supabase_realtime for table t with (publish = 'insert, delete')
    """)
    async with RealtimeClient(start_node(database.dsn).url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into t values (1, 1)")
        database.execute("update t set b = 2")
        database.execute("delete from t")
        assert rows_of(await client.changes(2)) == [("INSERT", {"a": 1, "b": 1}, None), ("DELETE", None, {"a": 1})]


async def test_several_publications_are_joined_and_each_change_comes_once(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key, b int); create table u (a int primary key); create table v (a int);
        create publication inserts for table t with (publish = 'insert');
        create publication "the ""Other"", ü" for table t, u with (publish = 'insert, update');
        create publication not_followed for table v
    """)
    node = start_node(database.dsn, PUBLICATIONS='["inserts", "the \\"Other\\", ü"]')
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into v values (1)")
        database.execute("insert into t values (1, 1)")
        database.execute("update t set b = 2")
        database.execute("delete from t")
        database.execute("insert into u values (1)")
        changes = await client.changes(3)
        assert [(change["table"], change["type"]) for change in changes] == [
            ("t", "INSERT"), ("t", "UPDATE"), ("u", "INSERT"),
        ]  # fmt: skip


async def test_tables_may_be_added_and_removed_while_the_server_runs(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key); create table u (a int primary key);
        create publication supabase_realtime for table t
    """)
    async with RealtimeClient(start_node(database.dsn).url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into u values (1)")
        database.execute("alter publication supabase_realtime add table u")
        await client.join("realtime:other", {"event": "*", "schema": "public", "table": "u", "filter": "a=eq.2"})
        database.execute("insert into u values (2)")
        assert [change["record"] for change in await client.changes(2)] == [{"a": 2}] * 2
        database.execute("alter publication supabase_realtime drop table u")
        database.execute("insert into u values (3)")
        database.execute("alter publication supabase_realtime set table u")
        database.execute("insert into t values (4)")
        database.execute("insert into u values (5)")
        assert [change["record"] for change in await client.changes(1)] == [{"a": 5}]
        await client.nothing_more(0.1)


@filtered
async def test_a_row_filter_turns_updates_into_what_the_filter_sees(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int, shown bool, v text, b int, primary key (a, shown));
        alter table t alter v set storage external;
        insert into t values (1, false, repeat('x', 5000), 1);
        create publication supabase_realtime for table t where (shown)
    """)
    async with RealtimeClient(start_node(database.dsn).url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("update t set b = 2")
        # It comes into sight as an Insert whose large value the WAL does not repeat.
        database.execute("update t set shown = true")
        database.execute("update t set b = 3")
        database.execute("update t set shown = false")
        database.execute("delete from t")
        assert rows_of(await client.changes(3)) == [
            ("INSERT", {"a": 1, "shown": True, "b": 2}, None),
            ("UPDATE", {"a": 1, "shown": True, "b": 3}, {"a": 1, "shown": True}),
            ("DELETE", None, {"a": 1, "shown": True}),
        ]
        await client.nothing_more(0.1)


@filtered
async def test_of_several_row_filters_one_is_enough(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key);
        create publication low for table t where (a < 10); create publication high for table t where (a > 20)
    """)
    async with RealtimeClient(start_node(database.dsn, PUBLICATIONS="low,high").url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into t select generate_series(8, 22)")
        assert [change["record"]["a"] for change in await client.changes(4)] == [8, 9, 21, 22]
        await client.nothing_more(0.1)


@filtered
async def test_columns_outside_a_column_list_are_not_there(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key, secret text, b int);
        create publication supabase_realtime for table t (b, a)
    """)
    async with RealtimeClient(start_node(database.dsn).url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into t values (1, 'hidden', 2)")
        database.execute("update t set secret = 'still hidden'")
        database.execute("delete from t")
        changes = await client.changes(3)
        assert rows_of(changes) == [
            ("INSERT", {"a": 1, "b": 2}, None),
            ("UPDATE", {"a": 1, "b": 2}, {"a": 1}),
            ("DELETE", None, {"a": 1}),
        ]
        assert all("hidden" not in str(change) for change in changes)
        await client.join("realtime:hidden", {**EVERYTHING, "schema": "public", "table": "t", "filter": "secret=eq.x"},
                          subscribed=False)  # fmt: skip
        system = await client.receive_until(lambda message: message["event"] == "system")
        assert "invalid column for filter secret" in system["payload"]["message"]


@filtered
async def test_tables_in_schema_include_those_made_later(database: Database, start_node: NodeFactory):
    database.execute("create schema s; create publication supabase_realtime for tables in schema s")
    async with RealtimeClient(start_node(database.dsn).url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("create table s.t (a int); create table t (a int)")
        database.execute("insert into t values (1); insert into s.t values (2)")
        assert [(change["schema"], change["record"]) for change in await client.changes(1)] == [("s", {"a": 2})]
        await client.nothing_more(0.1)


@pytest.mark.postgres(18, why="generated columns can be published from version 18 on")
async def test_generated_columns_can_be_published(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key, s int generated always as (a * 2) stored,
                        v int generated always as (a) virtual);
        create publication supabase_realtime for table t with (publish_generated_columns = stored)
    """)
    async with RealtimeClient(start_node(database.dsn).url) as client:
        await client.join("realtime:room", {**EVERYTHING, "schema": "public", "table": "t", "filter": "s=eq.4"})
        database.execute("insert into t values (1), (2)")
        assert rows_of(await client.changes(1)) == [("INSERT", {"a": 2, "s": 4}, None)]
        await client.nothing_more(0.1)


@filtered
async def test_publications_that_disagree_about_columns_are_waited_for_and_the_gap_told(
    database: Database, start_node: NodeFactory
):
    """Postgres ends the stream at the first change of the table, and goes on doing so when the lists are mended."""
    database.execute("""
        create table t (a int primary key, b int);
        create publication p for table t (b, a); create publication q for table t
    """)
    node = start_node(database.dsn, PUBLICATIONS="p,q", DB_RECONNECT_BACKOFF_MAX="500")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into t values (1, 1)")
        assert rows_of(await client.changes(1)) == [("INSERT", {"a": 1, "b": 1}, None)]
        database.execute("alter publication p set table t (a)")
        database.execute("insert into t values (2, 2)")
        await eventually(
            lambda: 'the publications \\"p\\", \\"q\\" publish different columns of public.t' in node.log()
        )
        assert "dropped" not in node.log()
        database.execute("alter publication q set table t (a)")
        message = await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected")
        assert message["payload"]["status"] == "ok"
        database.execute("insert into t values (3, 3)")
        assert rows_of(await client.changes(1)) == [("INSERT", {"a": 3}, None)]


@pytest.mark.postgres(16, why="version 15 counts generated columns among all columns, and cannot list them")
async def test_a_list_of_all_columns_but_the_generated_ones_is_no_list(database: Database, start_node: NodeFactory):
    database.execute("""
        create table t (a int primary key, b int, c int generated always as (a) stored);
        create publication p for table t (a, b); create publication q for table t
    """)
    async with RealtimeClient(start_node(database.dsn, PUBLICATIONS="p,q").url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into t values (1, 1)")
        assert rows_of(await client.changes(1)) == [("INSERT", {"a": 1, "b": 1}, None)]


@filtered
async def test_to_follow_only_one_of_them_loses_nothing(database: Database, start_node: NodeFactory):
    database.execute("create table t (a int primary key, b int); create publication p for table t (a)")
    database.execute("create publication q for table t (a)")
    node = start_node(database.dsn, PUBLICATIONS="p,q")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        database.execute("insert into t values (1, 1)")
        (first,) = await client.changes(1)
        database.execute("alter publication q set table t (a, b)")
        database.execute("insert into t values (2, 2)")
        await eventually(lambda: "publish different columns" in node.log())
    node.stop()
    node.start(wait=False)
    assert node.process is not None
    assert await asyncio.to_thread(node.process.wait, 20) == 1
    assert "follow only one of them with PUBLICATIONS" in node.log()
    node.environment["PUBLICATIONS"] = "q"
    await asyncio.to_thread(node.start)
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**EVERYTHING, "since": first["position"]})
        assert rows_of(await client.changes(1)) == [("INSERT", {"a": 2, "b": 2}, None)]
