"""Presence among the official clients: each knows who is there, whoever comes, changes or goes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fix_clients import (
    DEADLINE_S,
    EACH_OF_TODAY,
    REALTIME_JS,
    REALTIME_JS_2_10,
    REALTIME_JS_2_15,
    REALTIME_JS_V1,
    REALTIME_PY,
    REALTIME_PY_2_4,
    SUPABASE_JS,
    Application,
    Client,
    application,
)
from fix_node import Node

CLIENTS = (SUPABASE_JS, REALTIME_JS, REALTIME_JS_V1, REALTIME_JS_2_15, REALTIME_JS_2_10, REALTIME_PY, REALTIME_PY_2_4)
TOPIC = "who is there"


async def joined(stack: AsyncExitStack, client: Client, node: Node, key: str, topic: str = TOPIC) -> Application:
    channel: dict[str, Any] = {"topic": topic, "presence": True, "config": {"presence": {"key": key}}}
    app = await stack.enter_async_context(application(client, node, channel))
    await app.gets_status("SUBSCRIBED", topic)
    return app


def told(state: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """What those with a key tell of themselves."""
    return [{name: value for name, value in meta.items() if name != "presence_ref"} for meta in state[key]]


@pytest.mark.behaviour("presence", clients=CLIENTS)
async def test_every_client_knows_of_every_other(shared_node: Node):
    async with AsyncExitStack() as stack:
        keys = [f"k{number}" for number in range(len(CLIENTS))]
        apps = [await joined(stack, client, shared_node, key) for client, key in zip(CLIENTS, keys, strict=True)]
        for number, app in enumerate(apps):
            assert await app.act(TOPIC, track={"n": number}) == "ok"
        for app in apps:
            state = await app.gets_presence(*keys)
            assert [told(state, key) for key in keys] == [[{"n": number}] for number in range(len(keys))], str(app)
        await apps[0].act(TOPIC, track={"n": "changed"})
        await apps[1].act(TOPIC, untrack=True)
        for app in apps:
            state = await app.gets_presence(keys[0], *keys[2:])
            assert told(state, keys[0]) == [{"n": "changed"}], str(app)
        await apps[2].leave(TOPIC)
        for app in (*apps[:2], *apps[3:]):
            await app.gets_presence(keys[0], *keys[3:])


@pytest.mark.behaviour("presence alone")
@pytest.mark.parametrize("client", CLIENTS, ids=str)
async def test_a_state_comes_even_if_nobody_is_there_and_one_sees_itself(client: Client, shared_node: Node):
    topic = f"alone {client}"
    async with AsyncExitStack() as stack:
        app = await joined(stack, client, shared_node, "me", topic)
        await app.gets_presence()
        await app.act(topic, track={"a": 1})
        assert told(await app.gets_presence("me"), "me") == [{"a": 1}]
        assert (await app.get("comes"))["comes"] == "me"
        await app.act(topic, untrack=True)
        await app.gets_presence()
        assert (await app.get("goes"))["goes"] == "me"


@pytest.mark.behaviour("presence dies", "presence metas", clients=EACH_OF_TODAY)
async def test_several_devices_share_a_key_and_one_whose_connection_dies_is_gone_at_once(shared_node: Node):
    topic = "devices"

    def are_there(state: dict[str, Any], *tabs: int) -> bool:
        metas = told(state, "ada") if "ada" in state else []
        return sorted(meta["tab"] for meta in metas) == sorted(tabs)

    async with AsyncExitStack() as stack:
        apps = [await joined(stack, client, shared_node, "ada", topic) for client in EACH_OF_TODAY]
        async with AsyncExitStack() as other:
            dying = await joined(other, REALTIME_JS_2_10, shared_node, "ada", topic)
            for number, app in enumerate([*apps, dying]):
                assert await app.act(topic, track={"tab": number}) == "ok"
            for app in (*apps, dying):
                while not are_there((await app.get("presence"))["presence"], *range(len(apps) + 1)):
                    pass
            dying._process.kill()
            for app in apps:
                while not are_there((await app.get("presence"))["presence"], *range(len(apps))):
                    pass
            other.pop_all()


# The newer Python client's `subscribe` waits for the answer.
@pytest.mark.behaviour("presence early", clients=[client for client in EACH_OF_TODAY if client != REALTIME_PY])
@pytest.mark.behaviour("presence late", clients=EACH_OF_TODAY)
async def test_one_may_track_before_the_join_is_answered_and_without_listening(shared_node: Node):
    async with AsyncExitStack() as stack:
        for client in EACH_OF_TODAY:
            app = await stack.enter_async_context(application(client, shared_node))
            topic = f"early {client}"
            await app._tell(join={"topic": topic, "config": {"presence": {"key": "me"}}})
            await app._tell(topic=topic, track={"a": 1})
            assert (await app.get("did"))["did"] == "ok"
            await app.gets_status("SUBSCRIBED", topic)
            async with asyncio.timeout(DEADLINE_S):
                while "me" not in (state := await app.act(topic, look=True)):
                    pass
            assert told(state, "me") == [{"a": 1}], str(app)
