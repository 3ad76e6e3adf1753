"""What a role gets of the changes: some columns, an error in place of a row, or nothing; over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fix_node import Node, NodeFactory
from fix_policies import ROLES
from minting import SECRET, mint
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient


@pytest.fixture(scope="module")
def secured(cluster: Cluster, shared_database: Database, start_shared_node: NodeFactory) -> Node:
    with cluster.connect() as connection:
        connection.execute(ROLES)
    shared_database.execute("grant usage on schema public to anon, authenticated, service_role")
    return start_shared_node(shared_database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")


def to(table: str, **more: Any) -> dict[str, Any]:
    return {"event": "*", "schema": "public", "table": table, **more}


async def test_a_role_gets_the_columns_it_may_select(secured: Node, shared_database: Database):
    shared_database.execute("""
        create table staff (id int8 primary key, name text, salary int);
        alter table staff replica identity full;
        grant select (id, name) on staff to anon;
        grant select on staff to service_role
    """)
    async with (
        RealtimeClient(secured.url, apikey=mint("anon")) as anon,
        RealtimeClient(secured.url, apikey=mint("service_role")) as service,
    ):
        for client in (anon, service):
            await client.join("realtime:staff", to("staff"))
        shared_database.execute("insert into staff values (1, 'ada', 10)")
        shared_database.execute("update staff set salary = 20")
        shared_database.execute("delete from staff")
        seen, whole = await anon.changes(3), await service.changes(3)
    assert [[column["name"] for column in change["columns"]] for change in seen] == [["id", "name"]] * 3
    assert [change.get("record") for change in seen] == [{"id": 1, "name": "ada"}, {"id": 1, "name": "ada"}, None]
    assert [change.get("old_record") for change in seen] == [None, {"id": 1, "name": "ada"}, {"id": 1, "name": "ada"}]
    assert [change["errors"] for change in seen] == [None] * 3
    assert whole[1]["record"] == {"id": 1, "name": "ada", "salary": 20}


async def test_a_filter_or_selection_of_what_is_not_visible_is_an_unknown_column(
    secured: Node, shared_database: Database
):
    shared_database.execute("create table hidden (id int8 primary key, secret text)")
    shared_database.execute("grant select (id) on hidden to anon")
    for more in ({"filter": "secret=eq.x"}, {"select": ["secret"]}):
        async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
            await client.join("realtime:hidden", to("hidden", **more), subscribed=False)
            told = await client.receive_until(lambda message: message["event"] == "system")
        assert told["payload"]["status"] == "error"
        assert "invalid column for" in told["payload"]["message"]


async def test_who_may_not_read_the_key_is_told_401_whatever_the_filter(secured: Node, shared_database: Database):
    shared_database.execute("create table keyless (id int8 primary key, title text)")
    shared_database.execute("grant select (title) on keyless to anon")
    async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
        await client.join("realtime:keyless", to("keyless", filter="title=eq.other"), to("keyless", event="DELETE"))
        shared_database.execute("insert into keyless values (1, 'milk')")
        shared_database.execute("delete from keyless")
        inserted, deleted = await client.changes(2)
    assert inserted["commit_timestamp"]
    assert {name: inserted[name] for name in ("type", "columns", "record", "errors")} == {
        "type": "INSERT",
        "columns": [],
        "record": {},
        "errors": ["Error 401: Unauthorized"],
    }
    assert (deleted["type"], deleted["old_record"], deleted["errors"]) == ("DELETE", {}, None)


async def test_a_role_without_any_privilege_is_told_of_no_delete(secured: Node, shared_database: Database):
    shared_database.execute("create table closed (id int8 primary key)")
    async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
        await client.join("realtime:closed", to("closed"))
        shared_database.execute("insert into closed values (1)")
        shared_database.execute("delete from closed")
        shared_database.execute("insert into closed values (2)")
        assert [(change["type"], change["errors"]) for change in await client.changes(2)] == [
            ("INSERT", ["Error 401: Unauthorized"])
        ] * 2


async def test_a_table_without_a_primary_key_is_an_error_for_everybody(secured: Node, shared_database: Database):
    shared_database.execute("create table loose (id int8); grant select on loose to service_role")
    async with RealtimeClient(secured.url, apikey=mint("service_role")) as client:
        await client.join("realtime:loose", to("loose"))
        shared_database.execute("insert into loose values (1)")
        (change,) = await client.changes(1)
    assert (change["record"], change["errors"]) == ({}, ["Error 400: Bad Request, no primary key"])


async def test_row_level_security_fails_closed(secured: Node, shared_database: Database):
    shared_database.execute("""
        create table guarded (id int8 primary key, owner text);
        alter table guarded enable row level security;
        create policy mine on guarded using (true);
        grant select on guarded to anon, service_role;
        create table last (id int8 primary key);
        grant select on last to anon
    """)
    async with (
        RealtimeClient(secured.url, apikey=mint("anon")) as anon,
        RealtimeClient(secured.url, apikey=mint("service_role")) as service,
    ):
        await anon.join("realtime:guarded", to("guarded"), to("last"), to("*"))
        await service.join("realtime:guarded", to("guarded"))
        shared_database.execute("insert into guarded values (1, 'ada')")
        shared_database.execute("update guarded set owner = 'bob'")
        shared_database.execute("delete from guarded")
        shared_database.execute("insert into last values (7)")
        assert (await anon.change())["data"]["table"] == "last"
        got = await service.changes(3)
    assert [change["type"] for change in got] == ["INSERT", "UPDATE", "DELETE"]
    assert got[0]["record"] == {"id": 1, "owner": "ada"}


async def test_rights_change_while_changes_flow(secured: Node, shared_database: Database):
    shared_database.execute("create table moving (id int8 primary key, title text); grant select on moving to anon")
    async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
        await client.join("realtime:moving", to("moving"))
        shared_database.execute("insert into moving values (1, 'a')")
        shared_database.execute("revoke select on moving from anon; grant select (id) on moving to anon")
        shared_database.execute("insert into moving values (2, 'b')")
        shared_database.execute("grant select on moving to anon")
        shared_database.execute("insert into moving values (3, 'c')")
        shared_database.execute("alter table moving enable row level security")
        shared_database.execute("insert into moving values (4, 'd')")
        shared_database.execute("alter table moving disable row level security")
        shared_database.execute("insert into moving values (5, 'e')")
        records: dict[int, dict[str, Any]] = {}
        while 5 not in records:
            (change,) = await client.changes(1)
            records[change["record"]["id"]] = change["record"]
    # What counts is what the catalog says when a row is decided on, which is at or after its commit.
    assert list(records) == sorted(records)
    assert records[5] == {"id": 5, "title": "e"}


async def test_a_right_that_was_taken_counts_from_the_next_row_on(secured: Node, shared_database: Database):
    shared_database.execute("create table taken (id int8 primary key, title text); grant select on taken to anon")
    async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
        await client.join("realtime:taken", to("taken"))
        shared_database.execute("insert into taken values (1, 'a')")
        assert (await client.changes(1))[0]["record"] == {"id": 1, "title": "a"}
        shared_database.execute("revoke select on taken from anon; grant select (id) on taken to anon")
        shared_database.execute("insert into taken values (2, 'b')")
        assert (await client.changes(1))[0]["record"] == {"id": 2}


async def test_what_no_table_announces_counts_within_seconds(
    secured: Node, shared_database: Database, cluster: Cluster
):
    shared_database.execute("""
        create table through (id int8 primary key);
        do $$ begin create role pgcast_test_group; exception when duplicate_object then null; end $$;
        grant select on through to pgcast_test_group;
        grant pgcast_test_group to anon
    """)
    async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
        await client.join("realtime:through", to("through"))
        shared_database.execute("insert into through values (0)")
        assert (await client.changes(1))[0]["errors"] is None
        shared_database.execute("revoke pgcast_test_group from anon")
        number, errors = 0, None
        while errors is None:
            number += 1
            shared_database.execute(f"insert into through values ({number})")
            errors = (await client.changes(1))[0]["errors"]
            assert number < 10_000
    shared_database.execute("drop owned by pgcast_test_group; drop role pgcast_test_group")


async def test_a_new_token_with_another_role_goes_on_without_gap_or_repeat(secured: Node, shared_database: Database):
    shared_database.execute("create table shifts (id int8 primary key, secret text)")
    shared_database.execute("grant select (id) on shifts to anon; grant select on shifts to service_role")
    topic = "realtime:shifts"
    async with RealtimeClient(secured.url, apikey=mint("anon")) as client:
        await client.join(topic, to("shifts"))
        for number in range(50):
            shared_database.execute(f"insert into shifts values ({number}, 'x')")
            if number == 25:
                await client.push(topic, "access_token", {"access_token": mint("service_role")})
        records, told = [], 0
        while len(records) < 50:
            message = await client.receive()
            if message["event"] == "postgres_changes":
                records.append(message["payload"]["data"]["record"])
            elif message["event"] == "system":
                told += 1
        await client.nothing_more()
    assert [record["id"] for record in records] == list(range(50))
    assert "secret" not in records[0]
    assert records[-1]["secret"] == "x"
    assert told == 1


async def test_a_role_that_does_not_exist_is_an_error(secured: Node):
    async with RealtimeClient(secured.url, apikey=mint("no_such_role")) as client:
        await client.join("realtime:room", to("*"), subscribed=False)
        told = await client.receive_until(lambda message: message["event"] == "system")
    assert told["payload"]["message"] == (
        'Unable to subscribe to changes with given parameters. Exception: role "no_such_role" does not exist'
    )


async def test_the_oldest_protocol_has_the_same_limits(secured: Node, shared_database: Database):
    shared_database.execute("create table old (id int8 primary key, secret text); grant select (id) on old to anon")
    async with RealtimeClient(secured.url, vsn="1.0.0", apikey=mint("anon")) as client:
        await client.push("realtime:public:old", "phx_join", {})
        await client.receive()
        shared_database.execute("insert into old values (1, 'x')")
        message = await client.receive()
        assert message["payload"]["record"] == {"id": 1}
        assert [column["name"] for column in message["payload"]["columns"]] == ["id"]
        shared_database.execute("revoke select on old from anon")
        await client.push("phoenix", "heartbeat", join_ref=None)
        shared_database.execute("insert into old values (2, 'x')")
        message = await client.receive_until(lambda message: message["event"] == "INSERT")
        assert (message["payload"]["record"], message["payload"]["errors"]) == ({}, ["Error 401: Unauthorized"])


async def test_without_tokens_everybody_sees_everything(database: Database, start_node: NodeFactory):
    database.execute("create table guarded (id int8 primary key); alter table guarded enable row level security")
    database.execute("create table loose (id int8); create publication supabase_realtime for all tables")
    node = start_node(database.dsn)
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", to("*"))
        database.execute("insert into guarded values (1)")
        database.execute("insert into loose values (2)")
        assert [change["record"] for change in await client.changes(2)] == [{"id": 1}, {"id": 2}]


async def test_stored_messages_are_judged_by_their_table_whatever_partition_they_are_in(
    guarded_broadcasting: tuple[Database, Node],
):
    database, node = guarded_broadcasting
    entry = {"event": "INSERT", "schema": "realtime", "table": "messages", "filter": "topic=eq.followed"}
    async with (
        RealtimeClient(node.url, apikey=mint("service_role")) as service,
        RealtimeClient(node.url, apikey=mint("anon")) as anon,
    ):
        for client in (service, anon):
            await client.join("realtime:changes", entry)
        database.execute("select realtime.send('1', 'one', 'followed', false)")
        (change,) = await service.changes(1)
        assert (change["table"], change["record"]["event"], change["errors"]) == ("messages", "one", None)
        database.execute("revoke select on realtime.messages from service_role")
        try:
            got = [change]
            async with asyncio.timeout(10):
                while got[-1]["errors"] is None:
                    database.execute("select realtime.send('2', 'two', 'followed', false)")
                    got += await service.changes(1)
        finally:
            database.execute("grant select on realtime.messages to service_role")
        assert got[-1]["errors"] == ["Error 401: Unauthorized"]
        await anon.nothing_more(0.2)  # its policies are not asked
