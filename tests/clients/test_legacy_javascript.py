"""The official JavaScript client of before 2.0, whose topics are its subscriptions."""

from __future__ import annotations

from typing import Any

import pytest

from fix_clients import REALTIME_JS_1_7, Client, Schema, application, at_both_paths
from fix_node import Node

# An application listens to "*", and with a second listener to "INSERT".
ANY, INSERT = 0, 1


def seen(lines: list[dict[str, Any]]) -> list[tuple[str, int, str, int]]:
    """Changes as (topic, listener, event, id), sorted."""
    changes = [(line["topic"], line["listener"], line["change"]) for line in lines]
    return sorted(
        (topic, listener, change["type"], (change.get("record") or change.get("old_record") or {"id": 0})["id"])
        for topic, listener, change in changes
    )


@pytest.mark.behaviour("changes")
@pytest.mark.parametrize("client", at_both_paths(REALTIME_JS_1_7), ids=str)
async def test_insert_update_and_delete_arrive_with_their_values(client: Client, shared_node: Node, schema: Schema):
    topic = f"realtime:{schema.name}:todos"
    async with application(client, shared_node, {"topic": topic}) as app:
        await app.gets_status("SUBSCRIBED", topic)
        schema.execute("insert into todos values (1, 'milk')")
        schema.execute("update todos set done = true")
        schema.execute("delete from todos")
        lines = await app.gets_changes(4)
    inserted, updated, deleted = (line["change"] for line in lines if line["listener"] == ANY)
    assert [line["change"] for line in lines if line["listener"] == INSERT] == [inserted]
    assert inserted["position"] < updated["position"] < deleted["position"]
    for change in (inserted, updated, deleted):
        assert change.pop("commit_timestamp").endswith("Z")
        assert change.pop("schema") == schema.name
        assert change.pop("table") == "todos"
        assert change.pop("errors") is None
        del change["position"]
        assert change.pop("columns") == [
            {"flags": ["key"], "name": "id", "type": "int8", "type_modifier": 4294967295},
            {"flags": [], "name": "title", "type": "text", "type_modifier": 4294967295},
            {"flags": [], "name": "done", "type": "bool", "type_modifier": 4294967295},
        ]
    milk = {"id": 1, "title": "milk", "done": False}
    assert inserted == {"type": "INSERT", "record": milk}
    assert updated == {"type": "UPDATE", "record": {**milk, "done": True}, "old_record": {"id": 1}}
    assert deleted == {"type": "DELETE", "old_record": {"id": 1, "title": None, "done": None}}


@pytest.mark.behaviour("listeners", "truncate", clients=[REALTIME_JS_1_7])
async def test_each_kind_of_topic_gets_what_it_names(shared_node: Node, schema: Schema):
    everything, whole_schema = "realtime:*", f"realtime:{schema.name}"
    table, one, none = (f"{whole_schema}:todos{rest}" for rest in ("", ":id=eq.1", ":id=eq.7"))
    topics = (everything, whole_schema, table, one, none)
    async with application(REALTIME_JS_1_7, shared_node, *({"topic": topic} for topic in topics)) as app:
        await app.gets_status("SUBSCRIBED", *topics)
        schema.execute("insert into todos values (1, 'milk'), (2, 'bread')")
        schema.execute("update todos set done = true where id = 1")
        schema.execute("delete from todos where id = 1")
        schema.execute("insert into notes values (9)")
        # The fourth kind of event, on all topics but those with a value, and without a row.
        schema.execute("truncate todos")
        expected = sorted(
            (topic, listener, event, number)
            for event, number, wanting in [
                ("INSERT", 1, (everything, whole_schema, table, one)),
                ("INSERT", 2, (everything, whole_schema, table)),
                ("UPDATE", 1, (everything, whole_schema, table, one)),
                ("DELETE", 1, (everything, whole_schema, table, one)),
                ("INSERT", 9, (everything, whole_schema)),
                ("TRUNCATE", 0, (everything, whole_schema, table)),
            ]
            for topic in wanting
            for listener in ((ANY, INSERT) if event == "INSERT" else (ANY,))
        )
        assert seen(await app.gets_changes(len(expected))) == expected
    assert not app.unread("change")


@pytest.mark.behaviour("several channels", clients=[REALTIME_JS_1_7])
async def test_a_topic_is_left_and_joined_again(shared_node: Node, schema: Schema):
    todos, notes = f"realtime:{schema.name}:todos", f"realtime:{schema.name}:notes"
    async with application(REALTIME_JS_1_7, shared_node, {"topic": todos}, {"topic": notes}) as app:
        await app.gets_status("SUBSCRIBED", todos, notes)
        await app.leave(todos)
        await app.gets_status("CLOSED", todos)
        schema.execute("insert into todos values (1, 'milk')")
        schema.execute("insert into notes values (2)")
        assert seen(await app.gets_changes(2)) == [(notes, ANY, "INSERT", 2), (notes, INSERT, "INSERT", 2)]
        await app.join(todos)
        await app.gets_status("SUBSCRIBED", todos)
        schema.execute("delete from todos")
        assert seen(await app.gets_changes(1)) == [(todos, ANY, "DELETE", 1)]
    assert not app.unread("change")


async def test_a_topic_of_a_table_that_does_not_exist_is_joined_and_silent(shared_node: Node, schema: Schema):
    nope, todos = f"realtime:{schema.name}:nope", f"realtime:{schema.name}:todos"
    async with application(REALTIME_JS_1_7, shared_node, {"topic": nope}, {"topic": todos}) as app:
        await app.gets_status("SUBSCRIBED", nope, todos)
        schema.execute("insert into todos values (1, 'milk')")
        assert {line["topic"] for line in await app.gets_changes(2)} == {todos}
        # A table that is made later is followed at once.
        schema.execute("create table nope (id int primary key)")
        schema.execute("insert into nope values (1)")
        assert {line["topic"] for line in await app.gets_changes(2)} == {nope}
    assert not app.unread("change")


# The WebSocket package that this version takes under Node has the same limit as Python's.
@pytest.mark.behaviour("change over 1 MiB", clients=[REALTIME_JS_1_7])
async def test_a_row_that_is_too_large_for_the_client_comes_shortened_when_it_is_back(
    shared_node: Node, schema: Schema
):
    topic = f"realtime:{schema.name}:todos"
    params = {"resume": "an application of before 2.0"}
    async with application(REALTIME_JS_1_7, shared_node, {"topic": topic}, params=params) as app:
        await app.gets_status("SUBSCRIBED", topic)
        schema.execute("insert into todos values (1, repeat('x', 1048576))")
        change = (await app.get("change"))["change"]
    assert change["record"] == {"id": 1, "done": False}
    assert change["errors"] == ["Error 413: Payload Too Large"]
