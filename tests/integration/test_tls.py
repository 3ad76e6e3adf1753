"""TLS spoken by the server itself: the same server, behind https and wss."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest

from fix_node import START_S, Node, NodeFactory, clean_environment
from making_certificates import Certificate, make_certificate
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Certificate) -> ssl.SSLContext:
    return certificate.client_context()


@pytest.fixture
def secure(published: Database, start_node: NodeFactory, certificate: Certificate, tls: ssl.SSLContext) -> Node:
    """A server that speaks TLS."""
    node = start_node(
        published.dsn, start=False, PGCAST_TLS_CERT=str(certificate.cert), PGCAST_TLS_KEY=str(certificate.key)
    )
    node.start(wait=False)
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        try:
            if get(node, "/ready", tls)["ready"]:
                return node
        except URLError:
            time.sleep(0.05)
    raise AssertionError(node.log())


def get(node: Node, path: str, tls: ssl.SSLContext) -> dict[str, object]:
    with urllib.request.urlopen(f"https://localhost:{node.port}{path}", timeout=5, context=tls) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def url(node: Node) -> str:
    return f"wss://localhost:{node.port}/socket/websocket"


async def test_changes_arrive_over_wss(secure: Node, published: Database, tls: ssl.SSLContext):
    async with RealtimeClient(url(secure), tls=tls) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        published.execute("insert into todos values (1, 'milk')")
        (change,) = await client.changes(1)
    assert change["record"] == {"id": 1, "title": "milk", "done": False}
    (listening,) = [event for event in secure.log_events() if event["event"] == "listening"]
    assert listening["url"] == f"https://localhost:{secure.port}"


async def test_a_large_transaction_arrives_whole_and_in_order(secure: Node, published: Database, tls: ssl.SSLContext):
    count = 20_000
    async with RealtimeClient(url(secure), tls=tls) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        published.execute(f"insert into todos select n, repeat('x', 500) from generate_series(1, {count}) n")
        changes = await client.changes(count, timeout_s=60)
    assert [change["record"]["id"] for change in changes] == list(range(1, count + 1))


async def test_a_client_that_stops_reading_is_served_later_and_takes_no_memory_meanwhile(
    secure: Node, published: Database, tls: ssl.SSLContext
):
    count = 20_000
    async with RealtimeClient(url(secure), tls=tls) as quick, RealtimeClient(url(secure), tls=tls) as slow:
        for client in (quick, slow):
            await client.join("realtime:room", {"event": "*", "schema": "public"})
        slow.socket.transport.pause_reading()
        before = secure.rss_bytes()
        published.execute(f"insert into todos select n, repeat('x', 1000) from generate_series(1, {count}) n")
        assert len(await quick.changes(count, timeout_s=60)) == count
        # 25 MB went out. What waits for the slow one is in the ring and in the window, which all share.
        assert secure.rss_bytes() - before < 120_000_000
        slow.socket.transport.resume_reading()
        changes = await slow.changes(count, timeout_s=60)
    assert [change["record"]["id"] for change in changes] == list(range(1, count + 1))


async def test_a_server_that_stops_says_so_over_wss_too(secure: Node, tls: ssl.SSLContext):
    async with RealtimeClient(url(secure), tls=tls) as client:
        code = await asyncio.to_thread(secure.stop)
        await client.socket.wait_closed()
        assert (code, client.socket.close_code) == (0, 1012)


def test_plain_http_gets_no_answer(secure: Node):
    with pytest.raises(OSError, match=r"closed|reset|refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{secure.port}/healthcheck", timeout=5)
    assert "Traceback" not in secure.log()


def test_a_certificate_that_cannot_be_used_is_said_before_anything_is_started(certificate: Certificate, tmp_path: Path):
    missing = tmp_path / "missing.pem"
    done = subprocess.run(
        [sys.executable, "-m", "pgcast", "serve"],
        env={**clean_environment(), "PGCAST_TLS_CERT": str(certificate.cert), "PGCAST_TLS_KEY": str(missing)},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"pgcast: PGCAST_TLS_KEY: cannot read {missing}: No such file or directory\n")
