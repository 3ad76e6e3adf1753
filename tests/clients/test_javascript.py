"""The official JavaScript clients since 2.0, with both serializers: what an application gets from a live server."""

from __future__ import annotations

from typing import Any

import pytest

from fix_clients import (
    JAVASCRIPT_CLIENTS,
    REALTIME_JS,
    REALTIME_JS_2_10,
    REALTIME_JS_2_15,
    REALTIME_JS_V1,
    SUPABASE_JS,
    SUPABASE_JS_V1,
    Client,
    Schema,
    application,
    at_both_paths,
)
from fix_node import Node

all_clients = pytest.mark.parametrize("client", JAVASCRIPT_CLIENTS, ids=str)

AT_BOTH_PATHS = at_both_paths(REALTIME_JS, REALTIME_JS_V1, REALTIME_JS_2_15, REALTIME_JS_2_10)


def seen(lines: list[dict[str, Any]]) -> list[tuple[str, int, str, int]]:
    """Changes as (topic, listener, event, id), sorted."""
    return sorted(
        (
            line["topic"],
            line["listener"],
            line["change"]["eventType"],
            (line["change"]["new"] or line["change"]["old"])["id"],
        )
        for line in lines
    )


@pytest.mark.behaviour("changes", "topics")
@pytest.mark.parametrize("client", [SUPABASE_JS, SUPABASE_JS_V1, *AT_BOTH_PATHS], ids=str)
async def test_insert_update_and_delete_arrive_with_their_values(client: Client, shared_node: Node, schema: Schema):
    channel = {"topic": "room/1: ü", "bindings": [schema.binding("*", "todos")]}
    async with application(client, shared_node, channel) as app:
        await app.gets_status("SUBSCRIBED", channel["topic"])
        schema.execute("insert into todos values (1, 'milk')")
        schema.execute("update todos set done = true")
        schema.execute("delete from todos")
        changes = await app.gets_changes(3)
        system = await app.get("system")
    inserted, updated, deleted = (line["change"] for line in changes)
    for change in (inserted, updated, deleted):
        assert change.pop("commit_timestamp").endswith("Z")
        assert change.pop("schema") == schema.name
        assert change.pop("table") == "todos"
        assert change.pop("errors") is None
    milk = {"id": 1, "title": "milk", "done": False}
    assert inserted == {"eventType": "INSERT", "new": milk, "old": {}}
    assert updated == {"eventType": "UPDATE", "new": {**milk, "done": True}, "old": {"id": 1}}
    assert deleted == {"eventType": "DELETE", "new": {}, "old": {"id": 1}}
    assert system["system"] == {
        "extension": "postgres_changes",
        "status": "ok",
        "message": "Subscribed to PostgreSQL",
        "channel": channel["topic"],
    }


@pytest.mark.behaviour("listeners")
@all_clients
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
        schema.binding("*", "notes"),
    ]
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
        # The newest clients drop a second binding that is like another.
        again = [9] if client in {REALTIME_JS_2_15, REALTIME_JS_2_10} else []
        expected = sorted(
            ("room", listener, event, number)
            for event, number, listeners in [
                ("INSERT", 1, [0, 1, 2, 5, 8]),
                ("INSERT", 2, [0, 1, 2, 7, 8]),
                ("UPDATE", 1, [0, 1, 3, 5]),
                ("INSERT", 3, [0, 6, *again]),
                ("DELETE", 1, [0, 1, 4, 5]),
                ("DELETE", 2, [0, 1]),
                ("INSERT", 99, [0, 6, *again]),
            ]
            for listener in listeners
        )
        # The last row comes last, so whatever was one too many has come before it.
        assert seen(await app.gets_changes(len(expected))) == expected
    assert not app.unread("change")


@pytest.mark.behaviour("several channels")
@all_clients
async def test_channels_share_a_socket_and_one_of_them_leaves_and_comes_back(
    client: Client, shared_node: Node, schema: Schema
):
    todos, one, notes = (
        schema.binding("*", "todos"),
        schema.binding("*", "todos", filter="id=eq.1"),
        schema.binding("*", "notes"),
    )
    channels = [
        {"topic": "a", "bindings": [todos]},
        {"topic": "b", "bindings": [one]},
        {"topic": "c", "bindings": [notes]},
    ]
    async with application(client, shared_node, *channels) as app:
        await app.gets_status("SUBSCRIBED", "a", "b", "c")
        schema.execute("insert into todos values (1, 'milk')")
        assert seen(await app.gets_changes(2)) == [("a", 0, "INSERT", 1), ("b", 0, "INSERT", 1)]

        await app.leave("a")
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


@pytest.mark.behaviour("unknown table")
@all_clients
async def test_a_table_that_does_not_exist_is_told_and_the_other_channels_live(
    client: Client, shared_node: Node, schema: Schema
):
    channels = [
        {"topic": "bad", "bindings": [schema.binding("*", "nope")]},
        {"topic": "good", "bindings": [schema.binding("*", "todos")]},
    ]
    async with application(client, shared_node, *channels) as app:
        await app.gets_status("SUBSCRIBED", "bad", "good")
        systems = {line["topic"]: line["system"] for line in [await app.get("system"), await app.get("system")]}
        schema.execute("insert into todos values (1, 'milk')")
        assert seen(await app.gets_changes(1)) == [("good", 0, "INSERT", 1)]
    assert systems["good"]["status"] == "ok"
    assert (systems["bad"]["status"], systems["bad"]["extension"]) == ("error", "postgres_changes")
    assert systems["bad"]["message"] == (
        "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect "
        f"parameters: [event: *, schema: {schema.name}, table: nope, filters: [], select: nil]"
    )


@pytest.mark.behaviour("wait")
@pytest.mark.parametrize("client", [SUPABASE_JS, SUPABASE_JS_V1, REALTIME_JS, REALTIME_JS_V1], ids=str)
async def test_a_join_that_waits_for_its_bindings_is_refused_until_they_can_be_served(
    client: Client, shared_node: Node, schema: Schema
):
    waiting = {"config": {"postgres_changes_options": {"wait": True, "timeout": 9000}}}
    channels = [
        {"topic": "bad", "bindings": [schema.binding("*", "nope")], **waiting},
        {"topic": "good", "bindings": [schema.binding("*", "todos")], **waiting},
    ]
    async with application(client, shared_node, *channels) as app:
        got = {line["topic"]: line for line in [await app.get("status"), await app.get("status")]}
        assert got["good"]["status"] == "SUBSCRIBED"
        assert got["bad"]["status"] == "CHANNEL_ERROR"
        assert got["bad"]["error"].startswith(
            "RealtimeDisabledForConfiguration: Unable to subscribe to changes with given parameters"
        )
        schema.execute("create table nope (id int8 primary key)")
        await app.gets_back("bad")
        schema.execute("insert into nope values (1)")
        assert seen(await app.gets_changes(1)) == [("bad", 0, "INSERT", 1)]
