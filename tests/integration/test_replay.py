"""Stored broadcasts for those who join a private channel, in a database that `pgcast init` has prepared."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from fix_messages import hear, take_apart
from fix_node import Node
from minting import mint
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

TOPIC = "realtime:open:1"


@pytest.fixture
def database(guarded_broadcasting: tuple[Database, Node]) -> Database:
    guarded_broadcasting[0].execute("delete from realtime.messages")
    return guarded_broadcasting[0]


@pytest.fixture
def node(guarded_broadcasting: tuple[Database, Node]) -> Node:
    return guarded_broadcasting[1]


def client_of(node: Node, *, vsn: str = "2.0.0") -> RealtimeClient:
    return RealtimeClient(node.url, vsn=vsn, apikey=mint())


def send(database: Database, number: int, *, topic: str = "open:1") -> None:
    database.execute("select realtime.send(to_jsonb(%s), 'n', %s)", [number, topic])


async def join(client: RealtimeClient, replay: Any, *, topic: str = TOPIC, private: bool = True) -> dict[str, Any]:
    config = {"private": private, "presence": {"enabled": False}, "broadcast": {"replay": replay}}
    ref = await client.push(topic, "phx_join", {"config": config})
    reply = await client.receive_until(lambda message: message["ref"] == ref)
    answer: dict[str, Any] = reply["payload"]
    return answer


def a_minute_ago() -> int:
    return int((time.time() - 60) * 1000)


async def test_the_newest_come_oldest_first_right_after_the_reply_and_then_the_live_ones(
    database: Database, node: Node
):
    for number in range(4):
        send(database, number)
    send(database, 9, topic="open:2")
    database.execute("select realtime.send('8', 'n', 'open:1', false)")
    async with client_of(node) as client:
        assert (await join(client, {"since": a_minute_ago(), "limit": 3}))["status"] == "ok"
        heard = [await hear(client) for _ in range(3)]
        assert [one.payload["payload"] for one in heard] == [1, 2, 3]
        assert all(one.payload["meta"]["replayed"] is True and not one.is_binary for one in heard)
        send(database, 4)
        live = await hear(client)
        assert (live.payload["payload"], "replayed" in live.payload["meta"]) == (4, False)


async def test_replayed_text_has_the_channel_s_join_ref_and_bytes_are_bytes(database: Database, node: Node):
    send(database, 1)
    database.execute(r"select realtime.send_binary('\x00ff', 'raw', 'open:1')")
    async with client_of(node) as client, client_of(node, vsn="1.0.0") as old:
        await join(client, {"since": a_minute_ago()})
        text = await client.socket.recv()
        assert isinstance(text, str)
        assert text.startswith('["1",null,"realtime:open:1","broadcast",')
        raw = take_apart(await client.socket.recv())
        assert (raw.payload["payload"], raw.payload["meta"]["replayed"]) == (b"\x00\xff", True)
        await join(old, {"since": a_minute_ago()})
        assert (await hear(old, is_v2=False)).payload["payload"] == 1
        send(database, 2)
        assert (await hear(old, is_v2=False)).payload["payload"] == 2, "it got no bytes"


async def test_none_is_left_out_or_comes_twice_between_the_stored_and_the_live_ones(database: Database, node: Node):
    """While messages are sent one after the other, so do clients join."""
    is_over = asyncio.Event()

    def send_many() -> int:
        sent = 0
        with database.connect() as connection:
            while not is_over.is_set():
                connection.execute("select realtime.send(to_jsonb(%s), 'n', 'open:1')", [sent])
                sent += 1
                time.sleep(0.0005)
        return sent

    sending = asyncio.create_task(asyncio.to_thread(send_many))
    heard: list[list[int]] = []
    for _ in range(15):
        async with client_of(node) as client:
            await join(client, {"since": a_minute_ago(), "limit": 25})
            numbers: list[int] = []
            while len(numbers) < 40:
                numbers.append((await hear(client)).payload["payload"])
            heard.append(numbers)
    is_over.set()
    await sending
    for numbers in heard:
        assert numbers == list(range(numbers[0], numbers[0] + 40))


async def test_a_server_that_was_killed_leaves_what_was_sent_meanwhile_to_the_replay(database: Database, node: Node):
    async with client_of(node) as client:
        await join(client, None)
        send(database, 1)
        assert (await hear(client)).payload["payload"] == 1
        since = int(time.time() * 1000)
        node.kill()
    send(database, 2)
    await asyncio.to_thread(node.start)
    async with client_of(node) as client:
        await join(client, {"since": since})
        assert (await hear(client)).payload["payload"] == 2
        send(database, 3)
        assert (await hear(client)).payload["payload"] == 3


@pytest.mark.parametrize(
    ("replay", "more", "reason"),
    [
        ({"limit": 3}, {}, "UnableToReplayMessages: Replay params are not valid"),
        ({"since": "now"}, {}, "UnableToReplayMessages: Replay params are not valid"),
        ({"since": 1, "limit": 1.5}, {}, "UnableToReplayMessages: Replay params are not valid"),
        ({"since": 1}, {"private": False}, "UnableToReplayMessages: Replay is not allowed for public channels"),
        (
            {"since": 1},
            {"topic": "realtime:closed"},
            "Unauthorized: You do not have permissions to read from this Channel topic: closed",
        ),
        (
            {"since": 1},
            {"topic": "realtime:present:1"},
            "Unauthorized: You do not have permissions to read from this Channel topic: present:1",
        ),
    ],
)
async def test_what_cannot_be_replayed_refuses_the_join(node: Node, replay: Any, more: dict[str, Any], reason: str):
    async with client_of(node) as client:
        assert await join(client, replay, **more) == {"status": "error", "response": {"reason": reason}}


async def test_without_the_database_the_join_is_refused_and_the_reason_logged(database: Database, node: Node):
    database.execute("alter table realtime.messages rename column event to happening")
    try:
        async with client_of(node) as client:
            refused = await join(client, {"since": 1})
    finally:
        database.execute("alter table realtime.messages rename column happening to event")
    reason = "UnableToReplayMessages: Realtime was unable to replay messages"
    assert refused == {"status": "error", "response": {"reason": reason}}
    assert "stored broadcasts cannot be replayed" in node.log()


async def test_replication_ready_is_answered(node: Node):
    async with client_of(node) as client:
        config = {"private": True, "broadcast": {"replication_ready": True}}
        await client.push(TOPIC, "phx_join", {"config": config})
        system = await client.receive_until(lambda message: message["event"] == "system")
        assert system["payload"]["message"] == "Replication connection established"
        assert (system["payload"]["extension"], system["payload"]["status"]) == ("system", "ok")


async def test_a_replay_of_many_megabytes_arrives(database: Database, node: Node):
    for number in range(4):
        database.execute("select realtime.send(to_jsonb(repeat('x', 2000000) || %s::text), 'n', 'open:1')", [number])
    async with client_of(node) as client:
        assert (await join(client, {"since": a_minute_ago()}))["status"] == "ok"
        assert [(await hear(client)).payload["payload"][-1] for _ in range(4)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("since", [10**400, -(10**400)], ids=["late", "early"])
async def test_a_time_that_is_none_finds_nothing_or_everything(database: Database, node: Node, since: int):
    send(database, 1)
    async with client_of(node) as client:
        assert (await join(client, {"since": since}))["status"] == "ok"
        if since < 0:
            assert (await hear(client)).payload["payload"] == 1
