"""A member of a channel that does not read what others send: they notice nothing, and it learns why it is closed."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from crowd import Crowd
from fix_node import NodeFactory
from pgcast.devdb.template import Database

pytestmark = [pytest.mark.fault, pytest.mark.timeout(120)]

MB = 1 << 20
JOIN = {"config": {"presence": {"enabled": False}}}
NOTE = "x" * 10_000


async def test_one_that_does_not_read_is_cut_off_and_the_others_get_everything(
    published: Database, start_node: NodeFactory
):
    node = start_node(published.dsn, PGCAST_RING_MB="4", PGCAST_IDLE_S="0")
    async with Crowd(node, 10) as crowd, connect(f"{node.url}?vsn=2.0.0", compression=None, ping_interval=None) as slow:
        sender, *others = crowd.people
        await crowd.say(crowd.people, "phx_join", JOIN)
        await crowd.until(lambda person: person.replies == ["ok"], crowd.people)
        await slow.send('["1","1","realtime:crowd","phx_join",{"config":{"presence":{"enabled":false}}}]')
        await slow.recv()
        slow.transport.pause_reading()
        highest = before = node.rss_bytes()
        count = 0
        for _ in range(40):  # 40 MB
            for _ in range(100):
                sender.push("broadcast", {"n": count, "note": NOTE})
                count += 1
            await crowd.until(lambda person, count=count: len(person.events) == count, others)
            highest = max(highest, node.rss_bytes())
        for person in others:
            assert [payload["n"] for payload in person.payloads("broadcast")] == list(range(count))
        assert highest - before < 40 * MB
        slow.transport.resume_reading()
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await slow.recv()
    assert (slow.close_code, slow.close_reason) == (
        1013,
        "too slow: messages you have not read are no longer held; reconnect",
    )


async def test_one_that_pauses_gets_what_it_missed(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, PGCAST_IDLE_S="0")
    async with Crowd(node, 2) as crowd, connect(f"{node.url}?vsn=2.0.0", compression=None, ping_interval=None) as slow:
        sender, other = crowd.people
        await crowd.say(crowd.people, "phx_join", JOIN)
        await crowd.until(lambda person: person.replies == ["ok"], crowd.people)
        await slow.send('["1","1","realtime:crowd","phx_join",{"config":{"presence":{"enabled":false}}}]')
        await slow.recv()
        slow.transport.pause_reading()
        for number in range(600):  # 6 MB: more than the sockets' buffers, less than the ring
            sender.push("broadcast", {"n": number, "note": NOTE})
        await crowd.until(lambda person: len(person.events) == 600, [other])
        slow.transport.resume_reading()
        async with asyncio.timeout(30):
            for number in range(600):
                assert f'"n":{number},' in str(await slow.recv())
