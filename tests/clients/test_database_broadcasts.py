"""Broadcasts from the database through the official clients: what an application gets of them."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import pytest

from fix_clients import EACH_OF_TODAY, REALTIME_JS, REALTIME_JS_1_7, SUPABASE_JS, Client, application
from fix_node import Node
from minting import mint
from pgcast.devdb.template import Database

CLIENTS = (SUPABASE_JS, *EACH_OF_TODAY)
SPEAK_BINARY = (SUPABASE_JS, REALTIME_JS)
TOPIC = "public:todos"


@pytest.mark.behaviour("database", clients=[*CLIENTS, REALTIME_JS_1_7])
@pytest.mark.behaviour("database bytes", clients=SPEAK_BINARY)
@pytest.mark.postgres(14, why="pgcast.send is not made")
async def test_every_client_gets_what_the_database_sends(broadcasting: tuple[Database, Node]):
    database, node = broadcasting
    async with AsyncExitStack() as stack:
        apps = []
        for client in (*CLIENTS, REALTIME_JS_1_7):
            # The topics of the oldest client are of its own kind.
            topic = f"realtime:{TOPIC}" if client.is_legacy else TOPIC
            channel = {"topic": topic, "broadcasts": ["hi", "raw", "unstored"]}
            apps.append(await stack.enter_async_context(application(client, node, channel)))
            await apps[-1].gets_status("SUBSCRIBED", topic)
        database.execute("""select realtime.send('{"text": "ü", "id": 7}', 'hi', 'public:todos', false)""")
        ((row_id,),) = database.execute("select id::text from realtime.messages where topic = 'public:todos'")
        for app in apps:
            message = (await app.get("broadcast"))["broadcast"]
            assert (message["event"], message["payload"]) == ("hi", {"text": "ü", "id": 7}), str(app)
            assert message["meta"] == {"id": row_id}, str(app)
        database.execute(r"select realtime.send_binary('\x00ff', 'raw', 'public:todos', false)")
        database.execute("""select pgcast.send('public:todos', 'unstored', '{"list": [1, 2]}', false)""")
        for app in apps:
            message = (await app.get("broadcast"))["broadcast"]
            if app.client in SPEAK_BINARY:
                assert (message["event"], message["payload"]) == ("raw", {"hex": "00ff"}), str(app)
                message = (await app.get("broadcast"))["broadcast"]
            assert (message["event"], message["payload"]) == ("unstored", {"list": [1, 2]}), str(app)
            assert app.unread("broadcast") == [], str(app)


@pytest.mark.behaviour("private database", "replay")
@pytest.mark.parametrize("client", CLIENTS, ids=str)
async def test_a_client_gets_what_was_stored_before_it_joined(
    client: Client, guarded_broadcasting: tuple[Database, Node]
):
    database, node = guarded_broadcasting
    topic = f"open:{client.package}:{client.vsn}"
    for number in range(3):
        database.execute("""select realtime.send(jsonb_build_object('n', %s), 'hi', %s)""", [number, topic])
    replay = {"since": int((time.time() - 60) * 1000), "limit": 2}
    channel = {"topic": topic, "broadcasts": ["hi"], "config": {"private": True, "broadcast": {"replay": replay}}}
    async with application(client, node, channel, apikey=mint()) as app:
        await app.gets_status("SUBSCRIBED", topic)
        database.execute("""select realtime.send('{"n": 3}', 'hi', %s)""", [topic])
        got = [(await app.get("broadcast"))["broadcast"] for _ in range(3)]
        assert [one["payload"]["n"] for one in got] == [1, 2, 3], str(app)
        assert [one["meta"].get("replayed", False) for one in got] == [True, True, False], str(app)
