"""The HTTP application, asked without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pgcast.engine.health import Health
from pgcast.web.routes import make_web, metrics_route, websocket_routes


async def get(app: Any, path: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and the body."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def test_liveness_says_that_the_process_answers():
    assert await get(make_web(Health()), "/healthcheck") == (200, "ok")


@pytest.mark.parametrize("path", ["/api/ping", "/realtime/v1/api/ping"])
async def test_clients_can_ping_under_both_spellings(path: str):
    status, body = await get(make_web(Health()), path)
    assert (status, json.loads(body)) == (200, {"message": "Success"})


@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
async def test_a_plain_request_where_a_websocket_is_expected_is_a_bad_one(method: str):
    web = make_web(Health(), websocket_routes({"/socket/websocket"}))
    status, body = await get(web, "/socket/websocket", method)
    assert (status, list(json.loads(body))) == (400, ["error"])
    assert (await get(web, "/socket/elsewhere"))[0] == 404


async def test_readiness_follows_the_stream(clock: Any):
    health = Health(is_streaming=True, heard_at_s=clock.now_s)
    status, body = await get(make_web(health), "/ready")
    assert (status, json.loads(body)) == (200, {"ready": True, "reason": None})
    clock.now_s += 60
    status, body = await get(make_web(health), "/ready")
    reason = "the replication stream has been silent for 60 s"
    assert (status, json.loads(body)) == (503, {"ready": False, "reason": reason})


async def test_metrics_are_served_in_the_text_format_where_they_are_wanted():
    registry = CollectorRegistry()
    Gauge("pgcast_test", "For this test.", registry=registry).set(7)
    status, body = await get(make_web(Health(), [metrics_route(registry)]), "/metrics")
    assert status == 200
    assert "pgcast_test 7.0\n" in body
    assert (await get(make_web(Health()), "/metrics"))[0] == 404


async def test_a_command_may_bring_a_page(clock: Any):
    app = make_web(Health(), [Route("/", lambda _: PlainTextResponse("a page"))])
    assert await get(app, "/") == (200, "a page")
    assert (await get(app, "/healthcheck"))[0] == 200


async def test_what_is_not_there_is_not_found_and_cannot_be_posted_to():
    assert (await get(make_web(Health()), "/"))[0] == 404
    assert (await get(make_web(Health()), "/healthcheck", "POST"))[0] == 405
