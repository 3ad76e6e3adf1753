"""Broadcasts between the official clients: every sender, every receiver, and what an application gets of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from fix_clients import (
    REALTIME_JS,
    REALTIME_JS_1_7,
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

TODAY = (SUPABASE_JS, REALTIME_JS, REALTIME_JS_V1, REALTIME_JS_2_15, REALTIME_JS_2_10, REALTIME_PY, REALTIME_PY_2_4)
SPEAK_BINARY = (SUPABASE_JS, REALTIME_JS)
HTTP_SENDERS = (SUPABASE_JS, REALTIME_JS, REALTIME_JS_V1, REALTIME_PY)
THOSE_THAT_FALL_BACK = (REALTIME_JS, REALTIME_JS_V1, REALTIME_JS_2_15, REALTIME_JS_2_10)

TOPIC = "room/1: ü"
PAYLOAD = {"a": 1, "text": "ü\n", "nested": {"list": [1.5, None, True]}}

# What the newest JavaScript client says of a `send` that goes over HTTP.
FALLS_BACK = ("falling back to REST API",)


def channel(*events: str, **config: Any) -> dict[str, Any]:
    return {"topic": TOPIC, "broadcasts": list(events or ["hi"]), "config": config}


def got(line: dict[str, Any]) -> dict[str, Any]:
    """What the application got: clients differ in whether they repeat the type."""
    return {key: value for key, value in line["broadcast"].items() if key not in {"type", "meta"}}


async def joined(stack: AsyncExitStack, client: Client, node: Node, **config: Any) -> Application:
    app = await stack.enter_async_context(application(client, node, channel(**config), may_log=FALLS_BACK))
    await app.gets_status("SUBSCRIBED", TOPIC)
    return app


@pytest.mark.behaviour("every mix", clients=(*TODAY, REALTIME_JS_1_7))
async def test_every_client_hears_every_other(shared_node: Node):
    async with AsyncExitStack() as stack:
        apps = []
        for client in (*TODAY, REALTIME_JS_1_7):
            # The topics of the oldest client are of its own kind.
            topic = "realtime:public:todos" if client.is_legacy else "public:todos"
            app = application(client, shared_node, {"topic": topic, "broadcasts": ["hi"]})
            apps.append((topic, await stack.enter_async_context(app)))
            await app.gets_status("SUBSCRIBED", topic)
        for number, (topic, sender) in enumerate(apps):
            assert await sender.act(topic, send=["hi", {**PAYLOAD, "from": number}]) == "ok"
            for _, receiver in apps:
                if receiver is not sender:
                    message = got(await receiver.get("broadcast"))
                    assert message == {"event": "hi", "payload": {**PAYLOAD, "from": number}}, str(receiver)
        for _, app in apps:
            assert app.unread("broadcast") == []


@pytest.mark.behaviour("self", "ack")
@pytest.mark.parametrize("client", TODAY, ids=str)
async def test_own_messages_come_back_and_are_acknowledged_where_that_is_asked_for(client: Client, shared_node: Node):
    async with AsyncExitStack() as stack:
        app = await joined(stack, client, shared_node, broadcast={"self": True, "ack": True})
        assert await app.act(TOPIC, send=["hi", PAYLOAD]) == "ok"
        assert got(await app.get("broadcast")) == {"event": "hi", "payload": PAYLOAD}


@pytest.mark.behaviour("bytes", clients=SPEAK_BINARY)
async def test_bytes_reach_those_who_can_read_them(shared_node: Node):
    async with AsyncExitStack() as stack:
        apps = [await joined(stack, client, shared_node) for client in TODAY]
        for sender in (app for app in apps if app.client in SPEAK_BINARY):
            await sender.act(TOPIC, send=["hi", {"hex": "00ff"}])
            await sender.act(TOPIC, send=["hi", {"then": 1}])
            for app in apps:
                if app is not sender and app.client in SPEAK_BINARY:
                    assert got(await app.get("broadcast")) == {"event": "hi", "payload": {"hex": "00ff"}}
                if app is not sender:
                    assert got(await app.get("broadcast")) == {"event": "hi", "payload": {"then": 1}}, str(app)


@pytest.mark.behaviour("http", "bytes over http")
@pytest.mark.parametrize("client", HTTP_SENDERS, ids=str)
async def test_a_channel_that_is_not_joined_sends_over_http(client: Client, shared_node: Node):
    async with AsyncExitStack() as stack:
        receivers = [await joined(stack, each, shared_node) for each in (REALTIME_JS, REALTIME_PY)]
        sender = await stack.enter_async_context(
            application(client, shared_node, {**channel(), "joins": False}, may_log=FALLS_BACK)
        )
        assert await sender.act(TOPIC, httpSend=["hi", PAYLOAD]) in ({"success": True}, "ok")
        for receiver in receivers:
            assert got(await receiver.get("broadcast")) == {"event": "hi", "payload": PAYLOAD}
        await sender.act(TOPIC, httpSend=["hi", {"hex": "00ff"}])
        assert got(await receivers[0].get("broadcast")) == {"event": "hi", "payload": {"hex": "00ff"}}
        assert receivers[1].unread("broadcast") == []


@pytest.mark.behaviour("fallback")
@pytest.mark.parametrize("client", THOSE_THAT_FALL_BACK, ids=str)
async def test_a_client_falls_back_to_a_batch_over_http(client: Client, shared_node: Node):
    async with AsyncExitStack() as stack:
        receivers = [await joined(stack, each, shared_node) for each in (REALTIME_JS, REALTIME_PY)]
        sender = await stack.enter_async_context(
            application(client, shared_node, {**channel(), "joins": False}, may_log=FALLS_BACK)
        )
        assert await sender.act(TOPIC, send=["hi", PAYLOAD]) == "ok"
        for receiver in receivers:
            assert got(await receiver.get("broadcast")) == {"event": "hi", "payload": PAYLOAD}
