"""Broadcasts over HTTP through a live server: paths, tokens, browsers, limits, and bodies that mean nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from fix_clients import shared_database, start_shared_node
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

__all__ = ["shared_database", "start_shared_node"]

SECRET = "a secret of more than thirty-two characters"
HI = {"topic": "t", "event": "hi", "payload": {"a": 1}}
ONE = "/api/broadcast/t/events/hi"


@pytest.fixture(scope="module")
def open_node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    return start_shared_node(shared_database.dsn, PGCAST_MAX_PAYLOAD_KB="1", PGCAST_MAX_FRAME_BYTES="5000")


@pytest.fixture(scope="module")
def secured(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    return start_shared_node(shared_database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")


@pytest.fixture
async def http(open_node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=open_node.http_url) as client:
        yield client


@pytest.fixture
def token() -> str:
    return jwt.encode({"alg": "HS256"}, {"role": "anon", "exp": int(time.time()) + 60}, OctKey.import_key(SECRET))


async def listening(node: Node, topic: str, vsn: str = "2.0.0") -> RealtimeClient:
    client = RealtimeClient(node.url, vsn=vsn)
    await client.__aenter__()
    await client.push(f"realtime:{topic}", "phx_join", {"config": {"presence": {"enabled": False}}})
    assert (await client.receive())["event"] == "phx_reply"
    return client


@pytest.mark.parametrize("prefix", ["", "/realtime/v1"])
async def test_both_endpoints_under_both_prefixes(http: httpx.AsyncClient, open_node: Node, prefix: str):
    topic = "a b/c:d ü"
    listener = await listening(open_node, topic, "1.0.0")
    batch = {"messages": [{**HI, "topic": topic}]}
    answer = await http.post(f"{prefix}/api/broadcast?apikey=anon&vsn=2.0.0", json=batch)
    assert (answer.status_code, answer.content) == (202, b"")
    one = f"{prefix}/api/broadcast/a%20b%2Fc%3Ad%20%C3%BC/events/ev%2F1?apikey=anon"
    answer = await http.post(one, json=[1, None])
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    for event, payload in (("hi", {"a": 1}), ("ev/1", [1, None])):
        message = await listener.receive()
        assert message["payload"] == {"type": "broadcast", "event": event, "payload": payload}
    await listener.socket.close()


@pytest.mark.parametrize("path", ["/api/broadcast", "/realtime/v1/api/broadcast/a%2Fb/events/e"])
async def test_a_browser_may_ask(http: httpx.AsyncClient, path: str):
    headers = {"origin": "https://example.com", "access-control-request-method": "POST"}
    answer = await http.options(path, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "apikey" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("path", ["/api/broadcast", ONE])
async def test_a_token_is_needed_where_clients_are_authenticated(secured: Node, token: str, path: str):
    body: Any = {"messages": [HI]}
    async with httpx.AsyncClient(base_url=secured.http_url) as client:
        for headers in ({}, {"apikey": "x"}, {"authorization": "Bearer x", "apikey": token}):
            answer = await client.post(path, json=body, headers=headers)
            assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})
            assert answer.headers["access-control-allow-origin"] == "*"
        for headers in (
            {"apikey": token},
            {"authorization": f"bearer {token}"},
            {"authorization": "", "apikey": token},
        ):
            assert (await client.post(path, json=body, headers=headers)).status_code == 202


async def test_what_is_too_large_is_refused_also_without_a_length(http: httpx.AsyncClient):
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 1000

    text = "Payload size exceeds tenant limit"
    too_large = {"message": f"payload: {text}", "errors": {"payload": [text]}}
    octets = {"content-type": "application/octet-stream"}
    assert (await http.post(ONE, content=b"x" * 1500, headers=octets)).status_code == 202
    for content in (b"x" * 1501, b"x" * 6000, chunks(2), chunks(50)):
        answer = await http.post(ONE, content=content, headers=octets)
        assert (answer.status_code, answer.json()) == (422, too_large)
    assert (await http.post(ONE, json={})).status_code == 202


async def test_too_many_messages_are_refused_and_counted(shared_database: Database, start_node: NodeFactory):
    node = start_node(shared_database.dsn, PGCAST_MAX_MESSAGES_PER_S="0.1")
    async with httpx.AsyncClient(base_url=node.http_url) as client, RealtimeClient(node.url) as other:
        for _ in range(5):
            answer = await client.post(ONE, json={})
        assert answer.headers["x-rate-limit"] == "0.1"
        answer = await client.post(ONE, json={})
        assert (answer.status_code, answer.json()) == (429, {"message": "You have exceeded your rate limit"})
        metrics = (await client.get("/metrics")).text
        assert 'pgcast_limited_total{limit="messages"} 1.0' in metrics

        # Each connection has its own measure.
        await other.push("realtime:t", "phx_join", {"config": {"presence": {"enabled": False}}})
        for _ in range(6):
            await other.push("realtime:t", "broadcast", {"event": "hi"})
        events = [(await other.receive())["event"] for _ in range(3)]
        assert events == ["phx_reply", "system", "phx_close"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
entries = json_values | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("topic", "event", "payload", "private", "id"), json_values),
)
bodies = (
    st.binary(max_size=30)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.lists(entries, max_size=3).map(lambda messages: json.dumps({"messages": messages}).encode())
)
paths = st.sampled_from(
    ["/api/broadcast", ONE, "/api/broadcast/%ff/events/e", "/api/broadcast/a/b", ONE + "?private=true"]
)
types = st.sampled_from(
    ["application/json", "application/octet-stream", "text/plain", "", "application/json; charset=x"]
)


@pytest.fixture(scope="module")
def blocking(open_node: Node) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_node.http_url) as client:
        yield client


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(path=paths, body=bodies, content_type=types)
def test_whatever_is_sent_gets_one_of_the_stated_answers(
    blocking: httpx.Client, path: str, body: bytes, content_type: str
):
    answer = blocking.post(path, content=body, headers={"content-type": content_type})
    assert answer.status_code in {202, 400, 403, 415, 422, 503}  # 503: private, and there is no realtime.messages
    assert answer.headers["access-control-allow-origin"] == "*"
    if answer.status_code != 202:
        assert set(answer.json()) <= {"errors", "message", "error"}


async def test_a_connection_that_never_asks_for_anything_is_closed_and_one_that_is_used_is_not(
    published: Database, start_node: NodeFactory
):
    node = await asyncio.to_thread(start_node, published.dsn, PGCAST_IDLE_S="2")
    silent, halting, used = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(3)]
    halting[1].write(b"GET /ready HTTP/1.1\r\n")
    for _ in range(10):
        used[1].write(b"GET /api/ping HTTP/1.1\r\nhost: here\r\n\r\n")
        assert (await used[0].readuntil(b"}")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.25)
    async with asyncio.timeout(5):
        for reader, writer in (silent, halting):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
    used[1].close()
