"""Whatever a client sends: the stated answer, and the connection and the server stay."""

from __future__ import annotations

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
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive_until(lambda _: False)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
