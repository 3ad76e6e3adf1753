"""What the official clients' connections live through: silence, tokens, a killed server, a restarted server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from fix_clients import (
    CLIENTS,
    EACH_KIND,
    JAVASCRIPT_CLIENTS,
    PYTHON_CLIENTS,
    REALTIME_JS,
    REALTIME_JS_V1,
    REALTIME_PY,
    REALTIME_PY_2_4,
    SUPABASE_JS,
    Application,
    Client,
    Schema,
    application,
)
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECRET = "a secret of at least thirty-two characters"

# This version never sends the parameters that it is given.
RESUMING = tuple(client for client in CLIENTS if client != REALTIME_PY_2_4)

# The others close their channel by themselves.
CUTTABLE = (REALTIME_JS, REALTIME_JS_V1, REALTIME_PY, REALTIME_PY_2_4)

# The Python client logs each connection that ends and each attempt that fails.
PYTHON_RECONNECTS = ("WebSocket connection closed with code", "Connection attempt failed")


def token(secret: str = SECRET, **claims: Any) -> str:
    content = {"role": "anon", "exp": int(time.time()) + 3600, **claims}
    return jwt.encode({"alg": "HS256"}, content, OctKey.import_key(secret))


def channel_of(client: Client, schema: Schema) -> dict[str, Any]:
    """A channel that listens to the todos."""
    if client.is_legacy:
        return {"topic": f"realtime:{schema.name}:todos"}
    return {"topic": "room", "bindings": [schema.binding("*", "todos")]}


def ids(lines: Iterable[dict[str, Any]]) -> list[int]:
    """The ids of changed rows, whatever the client calls the row."""
    changes = [line["change"] for line in lines]
    return [(change.get("new") or change.get("record") or change["data"]["record"])["id"] for change in changes]


async def start_all(
    stack: contextlib.AsyncExitStack, node: Node, schema: Schema, *, resumes: bool = False, **config: Any
) -> Mapping[Client, Application]:
    """Start an application with each client; all have subscribed.

    Args:
        stack: Ends them.
        node: The server.
        schema: To whose todos they listen.
        resumes: Whether their URLs say who they are.
        config: What the programs that listen are told.
    """
    apps = {
        client: application(
            client, node, channel_of(client, schema), **config, params={"resume": str(client)} if resumes else {}
        )
        for client in (RESUMING if resumes else CLIENTS)
    }
    await asyncio.gather(*(stack.enter_async_context(app) for app in apps.values()))
    await asyncio.gather(*(app.gets_back(channel_of(client, schema)["topic"]) for client, app in apps.items()))
    return apps


def changes_each(client: Client) -> int:
    # The oldest client's application listens to all events and, with a second listener, to INSERT.
    return 2 if client.is_legacy else 1


def statuses_between(client: Client) -> set[str]:
    """What an application is told between a connection and the next one."""
    return set() if client == REALTIME_PY_2_4 else {"CHANNEL_ERROR"}


@pytest.mark.behaviour("heartbeats", clients=CLIENTS)
async def test_every_client_lives_over_its_heartbeats_and_a_silent_one_is_closed(
    shared_database: Database, start_node: NodeFactory, schema: Schema
):
    node = start_node(shared_database.dsn, PGCAST_IDLE_S="3.5")
    async with contextlib.AsyncExitStack() as stack:
        apps = await start_all(stack, node, schema, heartbeat_ms=900)
        silent = application(SUPABASE_JS, node, channel_of(SUPABASE_JS, schema))
        await stack.enter_async_context(silent)
        await silent.gets_status("SUBSCRIBED", "room")
        # Its next heartbeat would be the first one, after 25 s.
        assert "CHANNEL_ERROR" in await silent.gets_back("room")
        schema.execute("insert into todos values (1, 'milk')")
        for client, app in apps.items():
            assert ids(await app.gets_changes(changes_each(client))) == [1] * changes_each(client)
            assert not app.unread("status"), str(app)
            heartbeats = [line["heartbeat"] for line in app.unread("heartbeat")]
            assert set(heartbeats) <= {"sent", "ok"}
            if client in {SUPABASE_JS, REALTIME_JS, REALTIME_JS_V1}:  # those that tell
                assert heartbeats.count("ok") > 2


@pytest.mark.behaviour("killed server", clients=CLIENTS)
@pytest.mark.behaviour("since", clients=JAVASCRIPT_CLIENTS)
async def test_every_client_comes_back_to_a_server_that_was_killed(
    shared_database: Database, start_node: NodeFactory, schema: Schema
):
    node = start_node(shared_database.dsn)
    # The restarted server reads this again, and so knows that it has all that was committed later.
    schema.execute("insert into notes values (1)")
    async with contextlib.AsyncExitStack() as stack:
        apps = await start_all(stack, node, schema, follows=True, may_log=PYTHON_RECONNECTS)
        schema.execute("insert into todos values (1, 'before')")
        for client, app in apps.items():
            assert ids(await app.gets_changes(changes_each(client))) == [1] * changes_each(client)
        node.kill()
        schema.execute("insert into todos values (2, 'meanwhile')")
        await asyncio.to_thread(node.start)
        for client, app in apps.items():
            before = await app.gets_back(channel_of(client, schema)["topic"])
            assert set(before) == statuses_between(client), str(app)
        schema.execute("insert into todos values (3, 'after')")
        for client, app in apps.items():
            got = await app.gets_changes(changes_each(client))
            while ids(got)[-1] != 3:
                got += await app.gets_changes(1)
            if client in JAVASCRIPT_CLIENTS:
                # They asked for what was committed at or after their last change: that one may come again.
                assert ids(got) in ([1, 2, 3], [2, 3]), str(app)
            else:
                assert set(ids(got)) == {3}, str(app)
            assert not [line for line in app.unread("system") if "code" in line["system"]], str(app)


@pytest.mark.behaviour("resume", clients=RESUMING)
async def test_every_client_with_an_id_in_its_url_gets_exactly_what_came_while_the_server_was_away(
    shared_database: Database, start_node: NodeFactory, schema: Schema, tmp_path: Path
):
    node = start_node(shared_database.dsn, PGCAST_STATE_DIR=str(tmp_path / "state"))
    async with contextlib.AsyncExitStack() as stack:
        apps = await start_all(stack, node, schema, resumes=True, may_log=PYTHON_RECONNECTS)
        schema.execute("insert into todos values (1, 'before')")
        for client, app in apps.items():
            assert ids(await app.gets_changes(changes_each(client))) == [1] * changes_each(client)
        # Within a second the server asks the clients' WebSockets what they have, and writes that down within another.
        await asyncio.sleep(3)
        node.kill()
        schema.execute("insert into todos values (2, 'meanwhile')")
        await asyncio.to_thread(node.start)
        for client, app in apps.items():
            await app.gets_back(channel_of(client, schema)["topic"])
        schema.execute("insert into todos values (3, 'after')")
        for client, app in apps.items():
            got = ids(await app.gets_changes(2 * changes_each(client)))
            assert got == sorted([2, 3] * changes_each(client)), str(app)
            assert not app.unread("change"), str(app)
            assert not [line for line in app.unread("system") if "code" in line["system"]], str(app)


@pytest.mark.behaviour("restarted server", clients=CLIENTS)
async def test_every_client_comes_back_to_a_server_that_was_restarted(
    shared_database: Database, start_node: NodeFactory, schema: Schema
):
    node = start_node(shared_database.dsn)
    async with contextlib.AsyncExitStack() as stack:
        apps = await start_all(stack, node, schema, may_log=PYTHON_RECONNECTS)
        began = time.monotonic()
        assert await asyncio.to_thread(node.stop) == 0
        assert time.monotonic() - began < 5, node.log()
        await asyncio.to_thread(node.start)
        for client, app in apps.items():
            before = await app.gets_back(channel_of(client, schema)["topic"])
            assert set(before) == statuses_between(client), str(app)
        schema.execute("insert into todos values (1, 'milk')")
        for client, app in apps.items():
            assert ids(await app.gets_changes(changes_each(client))) == [1] * changes_each(client)
    logs = [line["log"] for line in apps[REALTIME_PY].lines if "log" in line]
    assert "WebSocket connection closed with code: 1012, reason: Server requested disconnect" in logs


@pytest.mark.behaviour("joined anew")
@pytest.mark.parametrize("client", EACH_KIND, ids=str)
async def test_a_channel_that_is_left_and_at_once_joined_again_lives(client: Client, shared_node: Node, schema: Schema):
    channel = channel_of(client, schema)
    topic = channel["topic"]
    other = f"realtime:{schema.name}:notes" if client.is_legacy else "other"
    async with application(client, shared_node, channel, {"topic": other}) as app:
        await app.gets_status("SUBSCRIBED", topic, other)
        await app.replace(topic, *channel.get("bindings", ()))
        assert set(await app.gets_back(topic)) <= {"CLOSED"}
        # Were it told late that the former join is closed, it would be within this time.
        await asyncio.sleep(0.6)
        schema.execute("insert into todos values (1, 'milk')")
        assert ids(await app.gets_changes(changes_each(client))) == [1] * changes_each(client)


@pytest.mark.behaviour("cut while joining")
@pytest.mark.parametrize("client", CUTTABLE, ids=str)
async def test_a_client_comes_back_whose_connection_breaks_before_its_join_is_answered(
    client: Client, shared_node: Node, schema: Schema
):
    channel = channel_of(client, schema)
    is_cut = False

    async def relay(socket: ServerConnection) -> None:
        nonlocal is_cut
        assert socket.request is not None
        url = f"ws://127.0.0.1:{shared_node.port}{socket.request.path}"
        async with connect(url) as server, asyncio.TaskGroup() as group:
            back = group.create_task(hand_on(server, socket))
            with contextlib.suppress(ConnectionClosed):
                async for text in socket:
                    if not is_cut and "phx_join" in str(text):
                        is_cut = True
                        socket.transport.abort()
                    else:
                        await server.send(text)
            back.cancel()

    async with serve(relay, "127.0.0.1", 0) as cut:
        port = next(iter(cut.sockets)).getsockname()[1]
        node = Node({}, port, shared_node.log_path)
        async with application(client, node, channel, may_log=PYTHON_RECONNECTS) as app:
            assert set(await app.gets_back(channel["topic"])) <= {"CHANNEL_ERROR"}
            schema.execute("insert into todos values (1, 'milk')")
            assert ids(await app.gets_changes(changes_each(client))) == [1] * changes_each(client)


async def hand_on(server: ClientConnection, client: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for text in server:
            await client.send(text)


@pytest.fixture(scope="module")
def guarded_node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    """A server that wants a token."""
    return start_shared_node(shared_database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")


BAD_TOKENS = {
    "signature": token("another secret of at least 32 characters"),
    "expired": token(exp=1),
    "no JWT": "anon",
}


def with_bad_tokens(clients: Iterable[Client], thorough: Client) -> pytest.MarkDecorator:
    """Each client with one bad token, and one of them with all."""
    pairs = [(client, bad) for client in clients for bad in BAD_TOKENS if client == thorough or bad == "signature"]
    return pytest.mark.parametrize(("client", "bad"), pairs, ids=str)


@pytest.mark.behaviour("valid token")
@pytest.mark.parametrize("client", CLIENTS, ids=str)
async def test_a_valid_token_gets_in(client: Client, guarded_node: Node, schema: Schema, roles: None):
    schema.execute(f"grant usage on schema {schema.name} to public; grant select on todos to public")
    channel = channel_of(client, schema)
    async with application(client, guarded_node, channel, apikey=token()) as app:
        await app.gets_status("SUBSCRIBED", channel["topic"])
        schema.execute("insert into todos values (1, 'milk')")
        assert ids(await app.gets_changes(1)) == [1]


@pytest.mark.behaviour("bad token")
@with_bad_tokens([client for client in CLIENTS if not client.is_python], SUPABASE_JS)
async def test_a_bad_token_is_an_error_of_the_channel(client: Client, guarded_node: Node, schema: Schema, bad: str):
    channel = channel_of(client, schema)
    async with application(client, guarded_node, channel, apikey=BAD_TOKENS[bad]) as app:
        await app.gets_status("CHANNEL_ERROR", channel["topic"])


@pytest.mark.behaviour("bad token")
@with_bad_tokens(PYTHON_CLIENTS, REALTIME_PY)
async def test_a_bad_token_is_an_exception_in_python(client: Client, guarded_node: Node, schema: Schema, bad: str):
    channel = channel_of(client, schema)
    logs = ("Connection attempt failed", "Connection failed permanently after 1 attempts")
    async with application(client, guarded_node, channel, apikey=BAD_TOKENS[bad], attempts=1, may_log=logs) as app:
        raised = await app.get("raised")
    assert raised["raised"] == "InvalidStatus: server rejected WebSocket connection: HTTP 401"
