"""A topic may be called anything: it comes back as it was written, in both serializers."""

from __future__ import annotations

import pytest

from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

CONFIG = {"config": {"broadcast": {"self": True, "ack": True}, "presence": {"enabled": True, "key": 'é"'}}}
HELLO = {"type": "broadcast", "event": "hello", "payload": {}}

NAMES = [
    " ",
    "a b/c:d?e#f%20",
    '"\\\n\t\x00',
    "é😀\u202e",
    "*",
    "realtime:x",
    "../..",
    "x" * 247,
    "é" * 124,
    "x" * 100_000,
]


@pytest.fixture(scope="module")
def node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    return start_shared_node(shared_database.dsn)


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:12]))
async def test_a_topic_may_be_called_anything(node: Node, name: str, vsn: str):
    topic = f"realtime:{name}"
    async with RealtimeClient(node.url, vsn=vsn) as client:
        await client.push(topic, "phx_join", CONFIG)
        await client.push(topic, "broadcast", HELLO)
        await client.push(topic, "presence", {"event": "track", "payload": {"é": 1}})
        seen = [await client.receive() for _ in range(6)]
        await client.push(topic, "phx_leave")
        seen += [await client.receive() for _ in range(2)]
        assert {message["topic"] for message in seen} == {topic}
        assert all(message["payload"]["status"] == "ok" for message in seen if message["event"] == "phx_reply")
        assert sorted(message["event"] for message in seen) == [
            "broadcast",
            "phx_close",
            *["phx_reply"] * 4,
            "presence_diff",
            "presence_state",
        ]
