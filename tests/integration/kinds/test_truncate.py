"""TRUNCATE reaches the oldest protocol only, once for each table that it empties."""

from __future__ import annotations

from typing import Any

import pytest

from fix_place import Place
from realtime_client import RealtimeClient

pytestmark = pytest.mark.postgres(11, why="TRUNCATE is published from version 11 on")


async def truncated(client: RealtimeClient, count: int) -> list[str]:
    messages = [await client.receive() for _ in range(count)]
    assert {message["event"] for message in messages} == {"TRUNCATE"}
    payloads: list[dict[str, Any]] = [message["payload"] for message in messages]
    assert all(payload["type"] == "TRUNCATE" and "record" not in payload for payload in payloads)
    return sorted(payload["table"] for payload in payloads)


async def test_every_table_that_is_emptied_is_told(place: Place):
    place.execute("""
        create table a (id serial primary key); create table b (id int primary key references a);
        create table c (id int); create table d (id int); create table e () inherits (d)
    """)
    async with RealtimeClient(place.node.url, vsn="1.0.0") as client:
        await client.push(f"realtime:{place.schema}", "phx_join", {})
        await client.receive()
        place.execute("truncate c")
        assert await truncated(client, 1) == ["c"]
        place.execute("truncate a, c restart identity cascade")
        assert await truncated(client, 3) == ["a", "b", "c"]
        place.execute("truncate d")
        assert await truncated(client, 2) == ["d", "e"]
        place.execute("truncate only d")
        assert await truncated(client, 1) == ["d"]


async def test_a_truncate_stands_between_the_changes_of_its_transaction(place: Place):
    place.execute("create table t (id int primary key)")
    async with RealtimeClient(place.node.url, vsn="1.0.0") as client, place.followed() as today:
        await client.push(f"realtime:{place.schema}:t", "phx_join", {})
        await client.receive()
        place.execute("insert into t values (1); truncate t; insert into t values (2)")
        messages = [await client.receive() for _ in range(3)]
        assert [message["event"] for message in messages] == ["INSERT", "TRUNCATE", "INSERT"]
        # Today's protocol leaves it out, and what follows keeps its number.
        positions = [change["position"] for change in await today.changes(2)]
        assert positions == [messages[0]["payload"]["position"], messages[2]["payload"]["position"]]
        await today.nothing_more(0.1)
