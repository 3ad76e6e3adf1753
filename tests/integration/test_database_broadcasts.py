"""Broadcasts from the database through a live server: rows of `realtime.messages`, and messages without a table."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fix_messages import hear, initialize
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database, Template
from realtime_client import RealtimeClient

ROOM = "realtime:room"
END = "the end"


@pytest.fixture
def database(broadcasting: tuple[Database, Node]) -> Database:
    return broadcasting[0]


@pytest.fixture
def node(broadcasting: tuple[Database, Node]) -> Node:
    return broadcasting[1]


def send(database: Database, *, payload: str = "{}", event: str = END, topic: str = "room", private: bool = False):
    database.execute("select realtime.send(%s::jsonb, %s, %s, %s)", [payload, event, topic, private])


async def test_a_row_reaches_both_serializers_with_its_id(database: Database, node: Node):
    async with RealtimeClient(node.url) as two, RealtimeClient(node.url, vsn="1.0.0") as one:
        await two.join(ROOM)
        await one.join(ROOM)
        send(database, payload='{"a": 1}', event="known")
        ((row_id,),) = database.execute("select id::text from realtime.messages where event = 'known'")
        heard = await hear(two)
        assert heard.is_binary
        assert heard.topic == ROOM
        expected = {"event": "known", "payload": {"a": 1, "id": row_id}, "meta": {"id": row_id}}
        assert heard.payload == expected
        heard = await hear(one, is_v2=False)
        assert heard.payload == {"type": "broadcast", **expected}


async def test_bytes_reach_the_newer_serializer_alone(database: Database, node: Node):
    async with RealtimeClient(node.url) as two, RealtimeClient(node.url, vsn="1.0.0") as one:
        await two.join(ROOM)
        await one.join(ROOM)
        database.execute(r"select realtime.send_binary('\x00ff', 'raw', 'room', false)")
        send(database)
        assert (await hear(two)).payload["payload"] == b"\x00\xff"
        assert (await hear(two)).payload["event"] == END
        assert (await hear(one, is_v2=False)).payload["event"] == END


async def test_a_row_that_a_program_inserts_itself_is_delivered_whatever_its_extension(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        database.execute(
            "insert into realtime.messages (topic, extension, event, payload) values ('room', 'presence', 'hi', '[]')"
        )
        assert (await hear(client)).payload["payload"] == []


async def test_broadcasts_of_a_transaction_come_at_its_commit_and_in_order(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        with psycopg.connect(database.dsn) as connection:
            for number in range(50):
                connection.execute("select realtime.send(%s::jsonb, 'n', 'room', false)", [str(number)])
            send(database, event="before")
            connection.commit()
            connection.execute("select realtime.send('{}', 'undone', 'room', false)")
            connection.rollback()
        send(database)
        events = [(await hear(client)).payload for _ in range(52)]
        assert [one["event"] for one in events] == ["before", *["n"] * 50, END]
        assert [one["payload"] for one in events[1:-1]] == list(range(50))


async def test_only_the_rooms_of_that_name_and_privacy_hear(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        send(database, event="private", private=True)
        send(database, event="other", topic="room2")
        send(database)
        assert (await hear(client)).payload["event"] == END


async def test_what_cannot_be_delivered_is_logged_and_the_rest_comes(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        database.execute(
            "insert into realtime.messages (topic, extension, event, payload) values ('room', 'broadcast', null, '{}')"
        )
        send(database)
        assert (await hear(client)).payload["event"] == END
    (said,) = [one for one in node.log_events() if one["event"] == "a broadcast from the database is dropped"]
    assert said["reason"] == "the row has no event"


async def test_the_table_is_no_part_of_what_wildcards_want(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:changes", {"event": "*", "schema": "*"}, {"event": "*", "schema": "realtime"})
        send(database)
        database.execute("insert into todos values (1, 'a')")
        change = (await client.change())["data"]
        assert (change["schema"], change["table"]) == ("public", "todos")


async def test_the_table_can_be_followed_by_its_name_whatever_partition_a_row_is_in(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        entry = {"event": "INSERT", "schema": "realtime", "table": "messages", "filter": "topic=eq.followed"}
        await client.join("realtime:changes", entry)
        send(database, topic="room")
        send(database, topic="followed")
        change = (await client.change())["data"]
        assert (change["schema"], change["table"]) == ("realtime", "messages")
        assert change["record"]["topic"] == "followed"


@pytest.mark.postgres(14, why="pgoutput passes no messages on")
async def test_messages_without_a_table_come_in_order_and_are_stored_nowhere(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        stored = database.execute("select count(*) from realtime.messages")
        send(database, event="row", payload="-1")
        with psycopg.connect(database.dsn) as connection:
            for number in range(20):
                connection.execute("select pgcast.send('room', 'n', %s::jsonb, false)", [str(number)])
                connection.execute(f"savepoint s; insert into todos values ({100 + number})")
        send(database, event="row", payload="20")
        heard = [(await hear(client)).payload for _ in range(22)]
        assert [one["payload"] for one in heard] == list(range(-1, 21))
        assert all(len(one["meta"]["id"]) == 36 for one in heard)
        assert database.execute("select count(*) - 2 from realtime.messages") == stored


@pytest.mark.postgres(14, why="pgoutput passes no messages on")
async def test_a_message_that_is_rolled_back_is_none_unless_it_is_outside_of_transactions(
    database: Database, node: Node
):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        content = json.dumps({"topic": "room", "event": "loose", "payload": 1, "private": False})
        with psycopg.connect(database.dsn) as connection:
            connection.execute("select pgcast.send('room', 'undone', '1', false)")
            connection.execute("select pg_logical_emit_message(false, 'pgcast.broadcast', %s)", [content])
            connection.execute("select pg_logical_emit_message(true, 'another', 'not ours')")
            connection.rollback()
        database.execute("select pgcast.send('room', 'done', '1', false)")
        assert [(await hear(client)).payload["event"] for _ in range(2)] == ["loose", "done"]


@pytest.mark.postgres(14, why="pgoutput passes no messages on")
async def test_messages_do_not_shift_the_positions_of_changes(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:changes", {"event": "*", "schema": "public", "table": "todos"})
        with psycopg.connect(database.dsn) as connection:
            connection.execute("select pgcast.send('room', 'e', '1')")
            connection.execute("insert into todos values (3, 'a')")
            connection.execute("select pgcast.send('room', 'e', '1')")
            connection.execute("insert into todos values (4, 'a')")
        positions = [(await client.change())["data"]["position"] for _ in range(2)]
        assert [position[-8:] for position in positions] == ["00000000", "00000001"]


async def test_nothing_is_lost_or_repeated_when_the_stream_breaks(database: Database, node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        for number in range(3):
            send(database, payload=str(number), event="n")
            database.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots"
                " where active and slot_name = %s and database = current_database()",
                [node.environment["SLOT_NAME"]],
            )
            send(database, payload=str(number + 10), event="n")
        send(database)
        heard = []
        while (one := (await hear(client)).payload)["event"] != END:
            heard.append(one["payload"])
        assert heard == [0, 10, 1, 11, 2, 12]


@pytest.mark.postgres(14, last=14, why="only 13 and 14 read a stretch again, and 13 passes no messages on")
async def test_a_stretch_that_is_read_again_sends_nothing_twice(initialized: Database, start_node: NodeFactory):
    initialized.execute("""
        create table r (id int, region int, primary key (region, id)) partition by list (region);
        create table low partition of r for values in (1);
        create table five (like r including all);
        insert into five values (0, 5);
        create publication stretches for table r, realtime.messages
    """)
    node = start_node(initialized.dsn, PUBLICATIONS="stretches")
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        regions = [1]
        with psycopg.connect(initialized.dsn, autocommit=True) as writer:
            for number in range(40):
                if number == 10:
                    writer.execute("alter table r attach partition five for values in (5)")
                    regions = [5, 1]
                with writer.transaction():
                    writer.execute("select pgcast.send('room', 'n', %s::jsonb, false)", [str(number)])
                    for region in regions:
                        writer.execute("insert into r values (%s, %s)", [number, region])
                    writer.execute("select realtime.send(%s::jsonb, 'n', 'room', false)", [str(number + 100)])
                await asyncio.sleep(0.05)
        expected = [one for number in range(40) for one in (number, number + 100)]
        assert [(await hear(client)).payload["payload"] for _ in expected] == expected
        await asyncio.sleep(2.5)
        send(initialized)
        assert (await hear(client)).payload["event"] == END
    assert "what it wrote since then is read" in node.log()


async def test_a_crash_of_postgres_loses_and_repeats_nothing(own_cluster, start_node: NodeFactory):
    cluster = own_cluster()
    dsn = cluster.dsn()
    await asyncio.to_thread(initialize, dsn, has_realtime=True)
    node = start_node(dsn)
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        heard = []
        for number in range(2):
            with cluster.connect() as connection:
                connection.execute("select realtime.send(%s::jsonb, 'n', 'room', false)", [str(number)])
            if number == 0:
                heard.append((await hear(client)).payload["payload"])
                cluster.restart("immediate")
        with cluster.connect() as connection:
            connection.execute("select realtime.send('\"end\"', 'n', 'room', false)")
        while heard[-1] != "end":
            heard.append((await hear(client)).payload["payload"])
        assert heard == [0, 1, "end"]


async def test_a_restarted_server_delivers_what_is_sent_from_then_on(initialized: Database, start_node: NodeFactory):
    node = start_node(initialized.dsn)
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        send(initialized, event="before")
        assert (await hear(client)).payload["event"] == "before"
        node.kill()
    send(initialized, event="meanwhile")
    node.start()
    async with RealtimeClient(node.url) as client:
        await client.join(ROOM)
        send(initialized)
        assert (await hear(client)).payload["event"] == END, "what was sent before the start is past"


PARTITIONS = "select count(*) from pg_inherits where inhparent = 'realtime.messages'::regclass"


def wait_for_partitions(database: Database) -> None:
    """Wait for the server to make those of all days."""
    ends = time.monotonic() + 10
    while database.execute(PARTITIONS) != [(5,)]:
        assert time.monotonic() < ends
        time.sleep(0.05)


THEIRS = """
    create schema realtime;
    create table realtime.messages (
        id uuid not null default gen_random_uuid(), topic text not null, extension text not null, payload jsonb,
        event text, private boolean default false, inserted_at timestamp not null default now(),
        skip_broadcast boolean, primary key (id, inserted_at)
    ) partition by range (inserted_at);
    create publication supabase_realtime;
    create publication supabase_realtime_messages_publication for table realtime.messages;
"""


@pytest.mark.postgres(13, why="a publication cannot carry a partitioned table")
async def test_a_table_that_somebody_else_made_works_alike(start_node: NodeFactory, empty_template: Template):
    theirs = empty_template.copy()
    try:
        theirs.execute(THEIRS)
        both = "supabase_realtime,supabase_realtime_messages_publication"
        node = start_node(theirs.dsn, PUBLICATIONS=both)
        async with RealtimeClient(node.url) as client:
            await client.join(ROOM)
            insert = "insert into realtime.messages (topic, extension, event, payload, skip_broadcast) values "
            await asyncio.to_thread(wait_for_partitions, theirs)
            theirs.execute(
                insert + "('room', 'broadcast', 'delivered', '1', true), ('room', 'broadcast', 'new', '1', null)"
            )
            assert (await hear(client)).payload["event"] == "new"
        node.stop()
    finally:
        theirs.drop()


@pytest.mark.postgres(13, why="the table has no partitions")
def test_the_server_makes_partitions_that_are_missing(initialized: Database, start_node: NodeFactory):
    initialized.execute(f"drop table realtime.messages_{datetime.now(UTC) + timedelta(2):%Y_%m_%d}")
    assert initialized.execute(PARTITIONS) == [(4,)]
    start_node(initialized.dsn)
    wait_for_partitions(initialized)
