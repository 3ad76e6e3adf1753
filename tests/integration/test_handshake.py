"""Who gets in: paths, serializers, tokens, and the refusals, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
import urllib.error
import urllib.request

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

SECRET = "a secret of more than thirty-two characters"


def token(*, secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    full = {"role": "anon", "exp": int(time.time()) + 60, **claims}
    wanted = {name: value for name, value in full.items() if value is not None}
    return jwt.encode({"alg": algorithm}, wanted, OctKey.import_key(secret), algorithms=[algorithm])


async def refusal(url: str, **headers: str) -> tuple[int, object]:
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, additional_headers=headers)
    response = caught.value.response
    return response.status_code, json.loads(response.body) if response.body else None


@pytest.fixture
def secured(published: Database, start_node: NodeFactory) -> Node:
    return start_node(published.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")


@pytest.mark.parametrize("path", ["/socket/websocket", "/realtime/v1/websocket"])
@pytest.mark.parametrize("vsn", [None, "1.0.0", "2.0.0"])
async def test_both_paths_and_both_serializers_are_served(node: Node, path: str, vsn: str | None):
    url = node.url.replace("/socket/websocket", path)
    async with RealtimeClient(url, vsn=vsn) as client:
        ref = await client.push("phoenix", "heartbeat", join_ref=None)
        reply = await client.receive()
    assert (reply["ref"], reply["event"], reply["payload"]) == (ref, "phx_reply", {"status": "ok", "response": {}})


async def test_a_client_that_says_nothing_is_sent_away_also_while_plain_http_is_spoken(
    published: Database, start_node: NodeFactory
):
    node = start_node(published.dsn, PGCAST_IDLE_S="0.5")
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)) as kept_alive:
        kept_alive.request("GET", "/healthcheck")
        assert kept_alive.getresponse().read() == b"ok"
        async with connect(node.url) as websocket:
            with pytest.raises(ConnectionClosed) as caught:
                async with asyncio.timeout(10):
                    await websocket.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1012, "nothing heard for 0.5 s")


async def test_another_path_or_version_is_refused(node: Node):
    assert (await refusal(node.url.replace("/socket", "/elsewhere")))[0] == 404
    assert await refusal(f"{node.url}?vsn=3.0.0") == (403, None)


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("POST", "/socket/websocket", UPGRADE),
        ("POST", "/realtime/v1/websocket", {}),
        ("HEAD", "/socket/websocket", {}),
        ("GET", "/socket/websocket?vsn=2.0.0", {}),
        ("GET", "//[not-an-address/socket/websocket", UPGRADE),
    ],
)
async def test_what_is_no_handshake_is_a_bad_request(node: Node, method: str, target: str, headers: dict[str, str]):
    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=5)
        with contextlib.closing(connection):
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    status, body = await asyncio.to_thread(ask)
    assert status == 400
    assert method == "HEAD" or list(json.loads(body)) == ["error"]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_valid_token_gets_in(secured: Node, algorithm: str):
    async with RealtimeClient(secured.url, apikey=token(algorithm=algorithm)) as client:
        await client.push("phoenix", "heartbeat")
        assert (await client.receive())["event"] == "phx_reply"


async def test_the_header_wins_over_the_parameter(secured: Node):
    async with connect(f"{secured.url}?apikey=nonsense", additional_headers={"x-api-key": token()}):
        pass


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (None, "API key is missing"),
        ("nonsense", "The token provided is not a valid JWT"),
        (token(exp=int(time.time()) - 5), "Token has expired"),
        (token(role=None), "Fields `role` and `exp` are required in JWT"),
        (token(exp=None), "Fields `role` and `exp` are required in JWT"),
        (token(secret="another secret of more than thirty-two characters"), "Failed to validate JWT signature"),
    ],
)
async def test_a_bad_token_is_refused_with_the_known_words(secured: Node, key: str | None, error: str):
    url = secured.url if key is None else f"{secured.url}?apikey={key}"
    assert await refusal(url) == (401, {"error": error})


async def test_without_a_secret_only_loopback_is_listened_on(node: Node):
    listening = [event for event in node.log_events() if event["event"] == "listening"]
    assert [event["address"] for event in listening] == ["127.0.0.1"]


async def test_connections_have_a_limit(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, MAX_CONNECTIONS="1")
    async with RealtimeClient(node.url):
        assert await refusal(node.url) == (429, {"error": "Too many connected users"})


def test_health_is_told_over_http(node: Node):
    with urllib.request.urlopen(f"{node.http_url}/healthcheck") as response:
        assert (response.status, response.read()) == (200, b"ok")
    with urllib.request.urlopen(f"{node.http_url}/realtime/v1/api/ping") as response:
        assert json.load(response) == {"message": "Success"}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{node.http_url}/nothing-here")


def test_metrics_are_served_on_loopback_and_where_it_was_said(node: Node, published: Database, start_node: NodeFactory):
    with urllib.request.urlopen(f"{node.http_url}/metrics") as response:
        assert response.headers["content-type"].startswith("text/plain")
        assert b"pgcast_ready 1.0" in response.read()
    hidden = start_node(published.dsn, EXPOSE_METRICS="false")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{hidden.http_url}/metrics")
