"""The limits as applications see them: what each official client is told, and that the rest of it lives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fix_clients import (
    DEADLINE_S,
    EACH_KIND,
    EACH_OF_TODAY,
    REALTIME_JS,
    REALTIME_JS_V1,
    REALTIME_PY,
    REALTIME_PY_2_4,
    Client,
    Schema,
    application,
)
from fix_node import Node, NodeFactory

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from pgcast.devdb.template import Database

# What the Python clients log of errors.
PY_SAYS = ("error", "Error", "Too many", "timeout", "limit", "Connection attempt failed")


@pytest.fixture(scope="module")
def strict_node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    """A server that allows little."""
    return start_shared_node(
        shared_database.dsn,
        PGCAST_MAX_CHANNELS="1",
        PGCAST_MAX_PRESENCE_CALLS="2",
        PGCAST_MAX_PAYLOAD_KB="1",
        MAX_RECORD_BYTES="1000",
    )


@pytest.mark.behaviour("too many channels")
@pytest.mark.parametrize("client", EACH_KIND, ids=str)
async def test_a_channel_too_many_is_told_and_the_other_one_lives(client: Client, strict_node: Node, schema: Schema):
    first, second = (
        (f"realtime:{schema.name}:todos", f"realtime:{schema.name}:notes") if client.is_legacy else ("first", "second")
    )
    channel = {"topic": first, "bindings": [schema.binding("*", "todos")]}
    async with application(client, strict_node, channel, may_log=PY_SAYS) as app:
        await app.gets_status("SUBSCRIBED", first)
        await app.join(second, schema.binding("*", "notes"))
        line = await app.get("status")
        assert (line["status"], line["topic"]) == ("CHANNEL_ERROR", second)
        assert "ChannelRateLimitReached: Too many channels" in line["error"]
        schema.execute("insert into todos values (1, 'milk')")
        assert (await app.get("change"))["topic"] == first


@pytest.mark.behaviour("oversize")
@pytest.mark.parametrize("client", EACH_OF_TODAY, ids=str)
async def test_a_message_that_is_too_large_is_answered_and_the_channel_lives(client: Client, strict_node: Node):
    channel = {"topic": "room", "broadcasts": ["hi"], "config": {"broadcast": {"ack": True, "self": True}}}
    async with application(client, strict_node, channel) as app:
        await app.gets_status("SUBSCRIBED", "room")
        # The Python clients tell the application nothing of an answer.
        assert await app.act("room", send=["hi", {"text": "x" * 2000}]) == ("ok" if client.is_python else "error")
        assert await app.act("room", send=["hi", {"text": "x"}]) == "ok"
        assert (await app.get("broadcast"))["broadcast"]["payload"] == {"text": "x"}


@pytest.mark.parametrize("client", [REALTIME_JS, REALTIME_JS_V1], ids=str)
async def test_an_application_learns_why_what_it_sent_over_http_was_refused(client: Client, strict_node: Node):
    async with application(client, strict_node, {"topic": "room", "joins": False}) as app:
        sent = await app.act("room", httpSend=["hi", {"text": "x" * 2000}])
        assert sent == {"raised": "payload: Payload size exceeds tenant limit"}


@pytest.mark.behaviour("presence calls")
@pytest.mark.parametrize("client", EACH_OF_TODAY, ids=str)
async def test_who_tracks_too_often_is_told_and_the_channel_is_closed(client: Client, strict_node: Node):
    async with application(client, strict_node, {"topic": "room", "presence": True}, may_log=PY_SAYS) as app:
        await app.gets_status("SUBSCRIBED", "room")
        for number in range(3):
            await app._tell(topic="room", track={"n": number})
        if client == REALTIME_PY:
            said = (await app.get("status"))["error"]
        else:
            said = (await app.get("system"))["system"]["message"]
        assert "Client presence rate limit exceeded" in said
        if client != REALTIME_PY_2_4:
            await app.gets_status("CLOSED", "room")


@pytest.mark.behaviour("large change", clients=EACH_KIND)
async def test_a_change_over_the_limit_comes_shortened_and_says_so(strict_node: Node, schema: Schema):
    for client in EACH_KIND:
        topic = f"realtime:{schema.name}:todos" if client.is_legacy else "room"
        channel = {"topic": topic, "bindings": [schema.binding("*", "todos")]}
        schema.execute("truncate todos")
        async with application(client, strict_node, channel) as app:
            await app.gets_status("SUBSCRIBED", topic)
            schema.execute("insert into todos values (1, repeat('x', 2000))")
            change = (await app.get("change"))["change"]
        change = change["data"] if client.is_python else change
        assert change["errors"] == ["Error 413: Payload Too Large"], str(app)
        assert change.get("record", change.get("new")) == {"id": 1, "done": False}, str(app)


async def _occupied(node: Node) -> ClientConnection:
    """Take the only place, as soon as it is free."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await connect(f"{node.url}?apikey=anon")
            except InvalidStatus:
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def narrow_node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    """A server with one place."""
    return start_shared_node(shared_database.dsn, MAX_CONNECTIONS="1")


@pytest.mark.behaviour("too many connections")
@pytest.mark.parametrize("client", EACH_KIND, ids=str)
async def test_one_connection_too_many_gets_in_when_there_is_a_place(client: Client, narrow_node: Node):
    topic = "realtime:public:todos" if client.is_legacy else "room"
    other = await _occupied(narrow_node)
    async with application(client, narrow_node, {"topic": topic}, may_log=PY_SAYS) as app:
        if client.is_python:
            assert "HTTP 429" in (await app.get("log"))["log"]
        else:
            assert (await app.get("status"))["status"] == "CHANNEL_ERROR"
        await other.close()
        await app.gets_back(topic)
