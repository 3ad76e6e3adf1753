"""What of a transaction counts: savepoints, two phases, sizes, messages between the changes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from fix_node import NodeFactory
from fix_place import Place
from fix_postgres import ClusterFactory
from pgcast.devdb.template import Database, Template
from realtime_client import RealtimeClient


def ids(changes):
    return [change["record"]["a"] for change in changes]


async def test_only_what_survives_of_savepoints_comes(place: Place):
    place.execute("create table t (a int primary key)")
    async with place.followed() as client:
        place.execute("""
            begin; insert into t values (1);
            savepoint x; insert into t values (2); savepoint y; insert into t values (3); rollback to y;
            insert into t values (4); release x;
            savepoint z; insert into t values (5); rollback to z; insert into t values (6); commit;
            begin; insert into t values (7); rollback
        """)
        place.execute("""
            do $$ begin
                insert into t values (8);
                begin insert into t values (9); raise exception 'x'; exception when others then null; end;
            end $$
        """)
        changes = await client.changes(5)
        assert ids(changes) == [1, 2, 4, 6, 8]
        await client.nothing_more(0.1)


async def test_changes_come_in_the_order_of_commits(place: Place):
    place.execute("create table t (a int primary key)")
    async with place.followed() as client:
        with place.connect() as first, place.connect() as second:
            first.autocommit = second.autocommit = False
            first.execute("insert into t values (1)")
            second.execute("insert into t values (2)")
            first.execute("insert into t values (3)")
            second.commit()
            first.commit()
        changes = await client.changes(3)
        assert ids(changes) == [2, 1, 3]
        assert sorted(change["position"] for change in changes) == [change["position"] for change in changes]


async def test_a_transaction_that_postgres_spills_to_disk_comes_whole(place: Place):
    place.execute("create table t (a int primary key, b text)")
    async with place.followed() as client:
        place.execute("insert into t values (0)")
        assert ids(await client.changes(1)) == [0]
        place.execute("insert into t select n, repeat('x', 500) from generate_series(1, 30000) n")
        assert ids(await client.changes(30_000, 60)) == list(range(1, 30_001))


@pytest.fixture
def two_phase(own_cluster: ClusterFactory) -> Iterator[Database]:
    database = Template.create(own_cluster(settings={"max_prepared_transactions": 4})).copy()
    database.execute("create table t (a int primary key); create publication supabase_realtime for all tables")
    return database


async def test_a_prepared_transaction_comes_when_it_is_committed(two_phase: Database, start_node: NodeFactory):
    node = start_node(two_phase.dsn)
    with two_phase.connect() as connection:
        async with RealtimeClient(node.url) as client:
            await client.join("realtime:early", {"event": "*", "schema": "public"})
            connection.execute("begin; insert into t values (1); prepare transaction 'first'")
            connection.execute("begin; insert into t values (2); prepare transaction 'second'")
            connection.execute("insert into t values (3)")
            assert ids(await client.changes(1)) == [3]
            # Whoever joins now has not seen what is prepared, and gets it.
            async with RealtimeClient(node.url) as late:
                await late.join("realtime:late", {"event": "*", "schema": "public"})
                connection.execute("rollback prepared 'second'")
                connection.execute("commit prepared 'first'")
                assert ids(await client.changes(1)) == ids(await late.changes(1)) == [1]
                await late.nothing_more(0.1)


async def test_messages_in_the_wal_disturb_nobody(place: Place):
    place.execute("create table t (a int primary key)")
    async with place.followed() as client:
        place.execute("""
            begin; insert into t values (1);
            select pg_logical_emit_message(true, 'pgcast', 'x');
            select pg_logical_emit_message(false, 'ü', repeat('y', 100000));
            insert into t values (2); commit
        """)
        place.execute("select pg_logical_emit_message(true, '', ''), pg_logical_emit_message(false, 'other', 'z')")
        place.execute("insert into t values (3)")
        assert ids(await client.changes(3)) == [1, 2, 3]


async def test_rows_that_others_cannot_see_are_not_published(place: Place):
    place.execute("create table t (a int primary key); create unlogged table u (a int)")
    async with place.followed() as client:
        place.execute("create temporary table x (a int); insert into x values (1); insert into u values (2)")
        place.execute("create materialized view m as select 3 as a; refresh materialized view m")
        place.execute("insert into t values (4)")
        place.execute("vacuum full t")
        assert [(change["table"], change["record"]) for change in await client.changes(1)] == [("t", {"a": 4})]
        await client.nothing_more(0.1)


async def test_a_rewrite_of_a_table_is_no_change_of_its_rows(place: Place):
    place.execute("create table t (a int primary key, b int); insert into t select n, n from generate_series(1, 100) n")
    async with place.followed() as client:
        place.execute("alter table t alter b type bigint")
        place.execute("alter table t add c double precision default random()")
        with place.connect() as connection, pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("insert into t values (1)")
        place.execute("insert into t values (101, 1, 0.5)")
        assert [change["record"] for change in await client.changes(1)] == [{"a": 101, "b": 1, "c": 0.5}]
        await client.nothing_more(0.1)
