"""Clients with an id in their URL: over cuts and restarts, they get what they have not received."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from faults.following import TODOS
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

pytestmark = pytest.mark.fault

SECRET = "a secret of more than thirty-two characters"


def insert(database: Database, first: int, last: int) -> None:
    database.execute(f"insert into todos select n, 'x' from generate_series({first}, {last}) n")


async def ids(client: RealtimeClient, count: int) -> list[int]:
    return [change["record"]["id"] for change in await client.changes(count)]


async def acknowledged(client: RealtimeClient) -> None:
    """Wait until the server has asked, and the library answered: at most a second after the last change."""
    client.socket.ping_timeout = None
    reading = asyncio.create_task(client.nothing_more(1.5))
    await reading


async def cut(client: RealtimeClient) -> None:
    """End the connection without a close frame, as a lost network does."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def test_a_client_with_an_id_gets_what_came_while_it_was_away(node: Node, published: Database):
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        insert(published, 1, 3)
        assert await ids(client, 3) == [1, 2, 3]
        await acknowledged(client)
        await cut(client)
    insert(published, 4, 6)
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        insert(published, 7, 7)
        assert await ids(client, 4) == [4, 5, 6, 7]
        await client.nothing_more()


async def test_what_was_not_acknowledged_comes_again(node: Node, published: Database):
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        insert(published, 1, 3)
        assert await ids(client, 3) == [1, 2, 3]
        await cut(client)
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        assert await ids(client, 3) == [1, 2, 3]


async def test_another_id_another_topic_and_other_bindings_start_from_now_on(
    published: Database, start_node: NodeFactory, tmp_path: Path
):
    node = start_node(published.dsn, PGCAST_STATE_DIR=str(tmp_path / "state"))
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        await cut(client)
    insert(published, 1, 3)
    for resume, topic, binding in (
        ("tab-2", "realtime:room", TODOS),
        ("tab-1", "realtime:other", TODOS),
        ("tab-1", "realtime:room", {**TODOS, "event": "INSERT"}),
    ):
        async with RealtimeClient(node.url, resume=resume) as client:
            await client.join(topic, binding)
            await client.nothing_more(0.3)
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        assert await ids(client, 3) == [1, 2, 3]


@pytest.mark.parametrize("remembers", [True, False])
async def test_it_works_across_a_kill_of_the_server(
    published: Database,
    start_node: NodeFactory,
    tmp_path: Path,
    remembers: bool,  # noqa: FBT001
):
    settings = {"PGCAST_STATE_DIR": str(tmp_path / "state")} if remembers else {}
    node = start_node(published.dsn, **settings)
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        insert(published, 1, 3)
        assert await ids(client, 3) == [1, 2, 3]
        await acknowledged(client)
        await asyncio.sleep(1.5)
        node.kill()
    insert(published, 4, 6)
    await asyncio.to_thread(node.start)
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        expected = [4, 5, 6] if remembers else [1, 2, 3, 4, 5, 6]
        assert await ids(client, len(expected)) == expected
        await client.nothing_more()


async def test_a_gap_is_told_when_the_window_has_moved_on(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, PGCAST_WINDOW_MB="1")
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        insert(published, 1, 3)
        assert await ids(client, 3) == [1, 2, 3]
        await acknowledged(client)
        await cut(client)
    async with RealtimeClient(node.url) as witness:
        await witness.join("realtime:room", TODOS)
        insert(published, 4, 10_000)
        await witness.changes(9_997)
    async with RealtimeClient(node.url, resume="tab-1") as client:
        ref = await client.push("realtime:room", "phx_join", {"config": {"postgres_changes": [TODOS]}})
        await client.receive_until(lambda message: message["ref"] == ref)
        gap = await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected")
    assert gap["payload"]["status"] == "ok"


async def test_a_subject_is_an_identity_where_the_settings_say_so(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1", PGCAST_RESUME="identity")
    claims = {"role": "postgres", "sub": "user-1", "exp": int(time.time()) + 600}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))
    async with RealtimeClient(node.url, apikey=token) as client:
        await client.join("realtime:room", TODOS)
        insert(published, 1, 3)
        assert await ids(client, 3) == [1, 2, 3]
        await acknowledged(client)
        await cut(client)
    insert(published, 4, 6)
    async with RealtimeClient(node.url, apikey=token) as client:
        await client.join("realtime:room", TODOS)
        assert await ids(client, 3) == [4, 5, 6]


async def test_the_oldest_clients_resume_too(node: Node, published: Database):
    async with RealtimeClient(node.url, vsn="1.0.0", resume="old") as client:
        await client.push("realtime:public:todos", "phx_join", {})
        await client.receive()
        insert(published, 1, 1)
        assert (await client.receive())["payload"]["record"]["id"] == 1
        await acknowledged(client)
        await cut(client)
    insert(published, 2, 2)
    async with RealtimeClient(node.url, vsn="1.0.0", resume="old") as client:
        await client.push("realtime:public:todos", "phx_join", {})
        await client.receive()
        assert (await client.receive())["payload"]["record"]["id"] == 2
