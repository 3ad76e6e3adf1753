"""The official Python client: what an application gets from a live server."""

from __future__ import annotations

from typing import Any

import pytest

from fix_clients import PYTHON_CLIENTS, REALTIME_PY, REALTIME_PY_2_4, Client, Schema, application, at_both_paths
from fix_node import Node, NodeFactory
from fix_policies import ROLES
from minting import SECRET, mint
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database

both_clients = pytest.mark.parametrize("client", PYTHON_CLIENTS, ids=str)


def seen(lines: list[dict[str, Any]]) -> list[tuple[str, int, str, int]]:
    """Changes as (topic, listener, event, id), sorted."""
    changes = [(line["topic"], line["listener"], line["change"]["data"]) for line in lines]
    return sorted(
        (topic, listener, change["type"], change.get("record", change.get("old_record"))["id"])
        for topic, listener, change in changes
    )


@pytest.mark.behaviour("changes", "topics")
@pytest.mark.parametrize("client", at_both_paths(*PYTHON_CLIENTS), ids=str)
async def test_insert_update_and_delete_arrive_with_their_values(client: Client, shared_node: Node, schema: Schema):
    channel = {"topic": "room/1: ü", "bindings": [schema.binding("*", "todos")]}
    async with application(client, shared_node, channel) as app:
        await app.gets_status("SUBSCRIBED", channel["topic"])
        schema.execute("insert into todos values (1, 'milk')")
        schema.execute("update todos set done = true")
        schema.execute("delete from todos")
        changes = [line["change"]["data"] for line in await app.gets_changes(3)]
        system = await app.get("system")
    for change in changes:
        assert change.pop("commit_timestamp").endswith("Z")
        assert change.pop("schema") == schema.name
        assert change.pop("table") == "todos"
        assert change.pop("errors") is None
        assert ("position" in change) == (
            client.package == REALTIME_PY_2_4.package
        )  # it hands on what it does not know
        change.pop("position", None)
        assert change.pop("columns") == [
            {"name": "id", "type": "int8"},
            {"name": "title", "type": "text"},
            {"name": "done", "type": "bool"},
        ]
    milk = {"id": 1, "title": "milk", "done": False}
    assert changes == [
        {"type": "INSERT", "record": milk},
        {"type": "UPDATE", "record": {**milk, "done": True}, "old_record": {"id": 1}},
        {"type": "DELETE", "old_record": {"id": 1}},
    ]
    assert system["system"] == {
        "extension": "postgres_changes",
        "status": "ok",
        "message": "Subscribed to PostgreSQL",
        "channel": channel["topic"],
    }


@pytest.mark.behaviour("listeners")
@both_clients
async def test_each_listener_is_called_exactly_as_often_as_it_should(client: Client, shared_node: Node, schema: Schema):
    bindings = [
        schema.binding("*"),
        schema.binding("*", "todos"),
        schema.binding("INSERT", "todos"),
        schema.binding("UPDATE", "todos"),
        schema.binding("DELETE", "todos", filter="id=eq.1"),
        schema.binding("*", "todos", filter="id=eq.1"),
        schema.binding("*", "notes"),
        schema.binding("*", "todos", filter="title=eq.bread"),
        {"event": "INSERT", "schema": "*", "table": "todos"},
        schema.binding("*", "todos"),
    ]
    # This version hands every change of a channel to whoever listens for "*".
    is_old = client == REALTIME_PY_2_4
    to_everything = [number for number, binding in enumerate(bindings) if is_old and binding["event"] == "*"]
    async with application(client, shared_node, {"topic": "room", "bindings": bindings}) as app:
        await app.gets_status("SUBSCRIBED", "room")
        schema.execute("insert into todos values (1, 'milk'), (2, 'bread')")
        schema.execute("update todos set done = true where id = 1")
        schema.execute("insert into notes values (3)")
        schema.execute("delete from todos where id = 1")
        schema.execute("delete from todos where id = 2")
        # This protocol has no TRUNCATE.
        schema.execute("truncate notes")
        schema.execute("insert into notes values (99)")
        expected = sorted(
            ("room", listener, event, number)
            for event, number, listeners in [
                ("INSERT", 1, [0, 1, 2, 5, 8, 9]),
                ("INSERT", 2, [0, 1, 2, 7, 8, 9]),
                ("UPDATE", 1, [0, 1, 3, 5, 9]),
                ("INSERT", 3, [0, 6]),
                ("DELETE", 1, [0, 1, 4, 5, 9]),
                ("DELETE", 2, [0, 1, 9]),
                ("INSERT", 99, [0, 6]),
            ]
            for listener in sorted({*listeners, *to_everything})
        )
        assert seen(await app.gets_changes(len(expected))) == expected
    assert not app.unread("change")


@pytest.mark.behaviour("several channels")
@both_clients
async def test_channels_share_a_socket_and_one_of_them_leaves_and_comes_back(
    client: Client, shared_node: Node, schema: Schema
):
    todos = schema.binding("*", "todos")
    channels = [
        {"topic": "a", "bindings": [todos]},
        {"topic": "b", "bindings": [schema.binding("*", "todos", filter="id=eq.1")]},
        {"topic": "c", "bindings": [schema.binding("*", "notes")]},
    ]
    async with application(client, shared_node, *channels) as app:
        await app.gets_status("SUBSCRIBED", "a", "b", "c")
        schema.execute("insert into todos values (1, 'milk')")
        assert seen(await app.gets_changes(2)) == [("a", 0, "INSERT", 1), ("b", 0, "INSERT", 1)]

        await app.leave("a")
        if client == REALTIME_PY:
            await app.gets_status("CLOSED", "a")
        schema.execute("insert into todos values (2, 'bread')")
        schema.execute("insert into notes values (3)")
        assert seen(await app.gets_changes(1)) == [("c", 0, "INSERT", 3)]

        await app.join("a", todos)
        await app.gets_status("SUBSCRIBED", "a")
        schema.execute("delete from todos where id = 2")
        schema.execute("insert into notes values (4)")
        assert seen(await app.gets_changes(2)) == [("a", 0, "DELETE", 2), ("c", 0, "INSERT", 4)]
    assert not app.unread("change")


@pytest.mark.behaviour("unknown table", clients=[REALTIME_PY])
async def test_a_table_that_does_not_exist_is_an_error_until_it_exists(shared_node: Node, schema: Schema):
    channels = [
        {"topic": "bad", "bindings": [schema.binding("*", "nope")]},
        {"topic": "good", "bindings": [schema.binding("*", "todos")]},
    ]
    async with application(REALTIME_PY, shared_node, *channels) as app:
        got = [await app.get("status") for _ in range(3)]
        statuses = [(line["topic"], line["status"]) for line in got]
        assert sorted(statuses) == [("bad", "CHANNEL_ERROR"), ("bad", "SUBSCRIBED"), ("good", "SUBSCRIBED")]
        error = next(line["error"] for line in got if "error" in line)
        assert "Unable to subscribe to changes with given parameters" in error
        assert f"[event: *, schema: {schema.name}, table: nope, filters: [], select: nil]" in error
        schema.execute("insert into todos values (1, 'milk')")
        assert seen(await app.gets_changes(1)) == [("good", 0, "INSERT", 1)]
        # This client joins again by itself.
        schema.execute("create table nope (id int8 primary key)")
        while (await app.get("system"))["topic"] != "bad":
            pass
        schema.execute("insert into nope values (2)")
        assert seen(await app.gets_changes(1)) == [("bad", 0, "INSERT", 2)]
    assert not app.unread("change")


@pytest.mark.behaviour("unknown table", clients=[REALTIME_PY_2_4])
async def test_the_older_version_is_told_of_a_table_that_does_not_exist(shared_node: Node, schema: Schema):
    channels = [
        {"topic": "bad", "bindings": [schema.binding("*", "nope")]},
        {"topic": "good", "bindings": [schema.binding("*", "todos")]},
    ]
    async with application(REALTIME_PY_2_4, shared_node, *channels) as app:
        await app.gets_status("SUBSCRIBED", "bad", "good")
        systems = {line["topic"]: line["system"] for line in [await app.get("system"), await app.get("system")]}
        schema.execute("insert into todos values (1, 'milk')")
        assert seen(await app.gets_changes(1)) == [("good", 0, "INSERT", 1)]
    assert systems["good"]["status"] == "ok"
    assert systems["bad"]["status"] == "error"
    assert "Unable to subscribe to changes with given parameters" in systems["bad"]["message"]


@pytest.fixture(scope="module")
def knowing_node(shared_database: Database, start_shared_node: NodeFactory, cluster: Cluster) -> Node:
    """A server that knows a client by its token, for the version that sends no parameters."""
    with cluster.connect() as connection:
        connection.execute(ROLES)
    return start_shared_node(shared_database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1", PGCAST_RESUME="identity")


@pytest.mark.behaviour("change over 1 MiB")
@pytest.mark.behaviour("resume", clients=[REALTIME_PY_2_4])
@both_clients
async def test_a_row_that_is_too_large_for_the_client_comes_shortened_when_it_is_back(
    client: Client, knowing_node: Node, schema: Schema
):
    schema.execute(f"grant usage on schema {schema.name} to public; grant select on todos to public")
    channel = {"topic": "room", "bindings": [schema.binding("*", "todos")]}
    logs = ("connection closed", "Connection with server closed")
    async with application(client, knowing_node, channel, apikey=mint(sub=str(client)), may_log=logs) as app:
        await app.gets_status("SUBSCRIBED", "room")
        schema.execute("insert into todos values (1, 'small')")
        schema.execute("insert into todos values (2, repeat('x', 1048576))")
        schema.execute("insert into todos values (3, 'small')")
        changes = {}
        while 3 not in changes:
            (line,) = await app.gets_changes(1)
            data = line["change"]["data"]
            changes[data["record"]["id"]] = (data["record"], data["errors"])
    assert changes == {
        1: ({"id": 1, "title": "small", "done": False}, None),
        2: ({"id": 2, "done": False}, ["Error 413: Payload Too Large"]),
        3: ({"id": 3, "title": "small", "done": False}, None),
    }
