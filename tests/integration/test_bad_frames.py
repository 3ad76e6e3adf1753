"""Whatever a client sends: the stated answer, and the connection and the server stay."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest
from websockets.exceptions import ConnectionClosed

from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient


async def assert_alive(client: RealtimeClient) -> None:
    ref = await client.push("phoenix", "heartbeat", join_ref=None)
    assert (await client.receive())["ref"] == ref


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize(
    "frame",
    ["", "not json", "null", "[]", "{}", "[1,2]", '"text"', "[" * 5000, '{"topic":1}', b"", b"\x03\x01", b"\xff" * 100],
)
async def test_a_malformed_frame_is_dropped_and_the_connection_stays(node: Node, vsn: str, frame: str | bytes):
    async with RealtimeClient(node.url, vsn=vsn) as client:
        await client.socket.send(frame)
        await assert_alive(client)


async def test_an_oversize_frame_closes_with_1009(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, PGCAST_MAX_FRAME_BYTES="2000")
    async with RealtimeClient(node.url) as client:
        await client.socket.send("x" * 2001)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    async with RealtimeClient(node.url) as client:
        await assert_alive(client)


async def test_text_that_is_not_utf8_closes_with_1007(node: Node):
    async with RealtimeClient(node.url) as client:
        await client.socket.send(b"\xff\xfe", text=True)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


async def test_a_topic_that_is_not_joined_is_unmatched(node: Node):
    async with RealtimeClient(node.url) as client:
        await client.push("realtime:room", "broadcast", {"event": "x"})
        reply = await client.receive()
        assert reply["payload"] == {"status": "error", "response": {"reason": "unmatched topic"}}
        await client.push("elsewhere", "phx_join")
        assert (await client.receive())["payload"]["response"] == {"reason": "unmatched topic"}


async def test_leave_is_answered_and_closed(node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room")
        await client.receive()  # presence_state
        ref = await client.push("realtime:room", "phx_leave")
        reply, close = await client.receive(), await client.receive()
    assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok")
    assert (close["event"], close["ref"], close["payload"]) == ("phx_close", "1", {})


async def test_a_ping_is_answered(node: Node):
    async with RealtimeClient(node.url) as client:
        await (await client.socket.ping())


async def test_a_silent_client_is_closed_with_1012(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, PGCAST_IDLE_S="0.5")
    async with RealtimeClient(node.url) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_a_stopping_server_sends_its_clients_away_with_1012(node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room")
        assert node.stop() == 0
        told = await client.receive_until(lambda message: message["event"] == "system")
        assert told["payload"] == {
            "extension": "system",
            "status": "ok",
            "message": "Server requested disconnect",
            "channel": "room",
        }
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive_until(lambda _: False)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


def spoiled(frame: bytes, random: Random) -> bytes:
    """A frame with some bytes replaced, removed or added."""
    content = bytearray(frame)
    for _ in range(random.randint(0, 4)):
        place = random.randint(0, len(content))
        content[place : place + random.randint(0, 3)] = random.randbytes(random.randint(0, 3))
    return bytes(content)


async def test_whatever_is_broadcast_or_tracked_the_others_can_read_what_they_get(node: Node):
    random = Random(6)
    topic = b"realtime:room"
    frames = [
        b"\x03\x01\x01%c\x02\x02\x01" % len(topic) + b"19" + topic + b"hi" + b"{}" + b'{"a":1}',
        b"\x03\x00\x00%c\x02\x00\x00" % len(topic) + topic + b"hi" + b"\xff\x00",
        b'["1","9","realtime:room","broadcast",{"type":"broadcast","event":"hi","payload":{"a":1}}]',
        b'["1","9","realtime:room","presence",{"type":"presence","event":"track","payload":{"a":1}}]',
        b'["1","9","realtime:room","presence",{"event":"untrack"}]',
    ]
    async with RealtimeClient(node.url) as sender, RealtimeClient(node.url, vsn="1.0.0") as old:
        for client in (sender, old):
            await client.push("realtime:room", "phx_join", {"config": {"broadcast": {"ack": True}}})
        for _ in range(2000):
            frame = spoiled(random.choice(frames), random)
            is_text = frame.startswith(b"[")
            await sender.socket.send(frame.decode(errors="replace") if is_text else frame)
        await assert_alive_after(sender)
        await old.push("realtime:room", "phx_leave")
        events = set()
        while "phx_close" not in events:
            events.add((await old.receive())["event"])
    assert events == {"phx_reply", "presence_state", "presence_diff", "broadcast", "phx_close"}


async def assert_alive_after(client: RealtimeClient) -> None:
    """As above, after whatever else has been answered."""
    ref = await client.push("phoenix", "heartbeat", join_ref=None)
    async with asyncio.timeout(15):
        while True:
            message = await client.socket.recv()
            if isinstance(message, str) and json.loads(message)[:3] == [None, ref, "phoenix"]:
                return
