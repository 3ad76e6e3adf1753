"""Filters and selected columns through the official clients: what an application asks for is what it gets."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from fix_clients import (
    REALTIME_JS,
    REALTIME_JS_V1,
    REALTIME_PY,
    REALTIME_PY_2_4,
    SUPABASE_JS,
    TODAYS,
    Application,
    Client,
    Schema,
    application,
)
from fix_node import Node
from pgcast.matching.filters import OPERATORS

ROWS = """
    insert into todos values (1, 'milk'), (2, 'tea, green'), (3, 'say "hi"'), (4, null), (5, 'TEA'), (6, ' x '),
                             (7, 'a\\b'), (10, '(last)')
"""

# What is written, and the rows it delivers.
WRITTEN = {
    "id=eq.5": {5},
    "id=neq.5,id=lte.6": {1, 2, 3, 4, 6},
    "id=gt.6": {7, 10},
    "id=gte.2,id=lt.4": {2, 3},
    "id=not.in.(1,2,3,4,5)": {6, 7, 10},
    'title=in.("tea, green",milk)': {1, 2},
    "title=ilike.tea%": {2, 5},
    "title=like.%e%": {2},
    "title=not.like.%e%": {1, 3, 5, 6, 7, 10},
    "title=is.null": {4},
    "done=is.false,id=lt.3": {1, 2},
    "title=isdistinct.milk": {2, 3, 4, 5, 6, 7, 10},
    "title=match.^[mt]": {1, 2},
    "title=imatch.^[mt]": {1, 2, 5},
    "or=(id.eq.1,and(title.not.is.null,id.gt.6))": {1, 7, 10},
}

# The calls of the JavaScript package's filter builder, and the rows.
BUILT: list[tuple[list[list[Any]], set[int]]] = [
    ([["gte", "id", 2], ["lt", "id", 4]], {2, 3}),
    ([["eq", "title", "tea, green"]], {2}),
    ([["eq", "title", 'say "hi"']], {3}),
    ([["eq", "title", " x "]], {6}),
    ([["eq", "title", "a\\b"]], {7}),
    ([["in", "title", ["(last)", "milk", 'say "hi"']]], {1, 3, 10}),
    ([["in", "id", [1, 2, None]]], {1, 2}),
    ([["is", "title", None]], {4}),
    ([["is", "done", False], ["lte", "id", 2]], {1, 2}),
    ([["not", "title", "is", None], ["gt", "id", 5]], {6, 7, 10}),
    ([["not", "id", "in", [1, 2, 3]], ["neq", "id", 10]], {4, 5, 6, 7}),
    ([["like", "title", "%e%"]], {2}),
    ([["ilike", "title", "tea"]], {5}),
    ([["match", "title", "^(m|t)"]], {1, 2}),
    ([["imatch", "title", "^t"]], {2, 5}),
    ([["isDistinct", "title", "milk"], ["lt", "id", 5]], {2, 3, 4}),
]


def test_every_operator_goes_through_the_clients():
    for shown in (WRITTEN, [f"{column}={operator.lower()}." for calls, _ in BUILT for operator, column, *_ in calls]):
        assert {operator for operator in OPERATORS if any(f"={operator}." in text for text in shown)} == {*OPERATORS}


async def rows_of(app: Application, schema: Schema, expected: list[set[int]]) -> list[set[int]]:
    """Insert the rows; return which of them each listener got, nothing being left over."""
    await app.gets_status("SUBSCRIBED", "room")
    schema.execute(ROWS)
    got: dict[int, set[int]] = defaultdict(set)
    for line in await app.gets_changes(sum(map(len, expected))):
        change = line["change"]
        row = change["data"]["record"] if app.client.is_python else change["new"]
        got[line["listener"]].add(row["id"])
    return [got[listener] for listener in range(len(expected))]


@pytest.mark.behaviour("filters", "or")
@pytest.mark.parametrize("client", TODAYS, ids=str)
async def test_written_filters_deliver_their_rows(client: Client, shared_node: Node, schema: Schema):
    bindings = [schema.binding("INSERT", "todos", filter=text) for text in WRITTEN]
    expected = list(WRITTEN.values())
    async with application(client, shared_node, {"topic": "room", "bindings": bindings}) as app:
        assert await rows_of(app, schema, expected) == expected
    assert not app.unread("change")


@pytest.mark.behaviour("filter builder")
@pytest.mark.parametrize("client", [SUPABASE_JS, REALTIME_JS, REALTIME_JS_V1], ids=str)
async def test_filters_of_the_package_s_own_builder_deliver_their_rows(
    client: Client, shared_node: Node, schema: Schema
):
    bindings = [{**schema.binding("INSERT", "todos"), "filter": calls} for calls, _ in BUILT]
    expected = [rows for _, rows in BUILT]
    async with application(client, shared_node, {"topic": "room", "bindings": bindings}) as app:
        assert await rows_of(app, schema, expected) == expected
    assert not app.unread("change")


@pytest.mark.behaviour("select")
@pytest.mark.parametrize("client", [client for client in TODAYS if client != REALTIME_PY_2_4], ids=str)
async def test_selected_columns_are_what_an_application_gets(client: Client, shared_node: Node, schema: Schema):
    bindings = [
        {**schema.binding("*", "todos"), "select": ["title"]},
        {**schema.binding("*", "todos", filter="id=eq.1"), "select": ["done"]},
    ]
    async with application(client, shared_node, {"topic": "room", "bindings": bindings}) as app:
        await app.gets_status("SUBSCRIBED", "room")
        schema.execute("insert into todos values (1, 'milk')")
        schema.execute("delete from todos")
        lines = await app.gets_changes(4)
    rows = []
    for line in lines:
        change = line["change"]["data"] if client.is_python else line["change"]
        new, old = ("record", "old_record") if client.is_python else ("new", "old")
        rows.append((line["listener"], change.get(new) or None, change.get(old) or None))
    assert sorted(rows, key=repr) == sorted(
        [
            (0, {"id": 1, "title": "milk"}, None),
            (1, {"id": 1, "done": False}, None),
            (0, None, {"id": 1}),
            (1, None, {"id": 1}),
        ],
        key=repr,
    )
    assert not app.unread("change")


# The Python client knows no such key.
@pytest.mark.behaviour("leave")
@pytest.mark.parametrize("client", [client for client in TODAYS if not client.is_python], ids=str)
async def test_an_application_is_told_of_a_row_that_leaves(client: Client, shared_node: Node, schema: Schema):
    schema.execute("alter table todos replica identity full")
    bindings = [
        {**schema.binding("*", "todos", filter="title=eq.milk"), "leave": True},
        {**schema.binding("*", "todos", filter="or=(title.match.^m,id.eq.2)"), "leave": True, "select": ["title"]},
        schema.binding("UPDATE", "todos", filter="title=eq.milk"),
    ]
    async with application(client, shared_node, {"topic": "room", "bindings": bindings}) as app:
        await app.gets_status("SUBSCRIBED", "room")
        schema.execute("insert into todos values (1, 'milk'), (2, 'tea')")
        schema.execute("update todos set title = 'bread'")
        schema.execute("update todos set title = 'milk' where id = 2")
        got = [(line["listener"], line["change"]) for line in await app.gets_changes(9)]
    told = [(listener, change["eventType"], change["new"]["id"], change["new"]["title"]) for listener, change in got]
    assert sorted(told) == [
        (0, "INSERT", 1, "milk"),
        (0, "UPDATE", 1, "bread"),
        (0, "UPDATE", 2, "milk"),
        (1, "INSERT", 1, "milk"),
        (1, "INSERT", 2, "tea"),
        (1, "UPDATE", 1, "bread"),
        (1, "UPDATE", 2, "bread"),
        (1, "UPDATE", 2, "milk"),
        (2, "UPDATE", 2, "milk"),
    ]
    assert not any("left" in change for _, change in got)  # the package hands on the row, not the mark
    assert not app.unread("change")


@pytest.mark.behaviour("bad filter")
@pytest.mark.parametrize("client", TODAYS, ids=str)
async def test_a_filter_that_cannot_be_served_is_told(client: Client, shared_node: Node, schema: Schema):
    binding = schema.binding("*", "todos", filter="nope=eq.1")
    async with application(
        client, shared_node, {"topic": "room", "bindings": [binding]}, may_log=("nope", "error")
    ) as app:
        if client == REALTIME_PY:  # which takes it for the end of the channel
            await app.gets_status("SUBSCRIBED", "room")
            said = str((await app.get("status"))["error"])
        else:
            said = str((await app.get("system"))["system"])
    assert "invalid column for filter nope" in said
