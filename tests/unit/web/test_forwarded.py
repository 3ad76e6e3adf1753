from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pgcast.auth.proxies import TrustedProxies
from pgcast.web.forwarded import Forwarded


async def who(request: Request) -> JSONResponse:
    assert request.client is not None
    return JSONResponse([*request.client, request.url.scheme])


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        (["10.0.0.0/8"], ["203.0.113.9", 0, "https"]),
        ([], ["10.0.0.1", 4711, "http"]),
        (["192.0.2.0/24"], ["10.0.0.1", 4711, "http"]),
    ],
)
async def test_the_application_sees_what_a_trusted_proxy_says(trusted: list[str], expected: list[object]):
    app = Forwarded(Starlette(routes=[Route("/", who)]), TrustedProxies(trusted))
    transport = httpx.ASGITransport(app, client=("10.0.0.1", 4711))
    headers = {"X-Forwarded-For": "1.1.1.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        assert (await client.get("/", headers=headers)).json() == expected
        assert (await client.get("/")).json() == ["10.0.0.1", 4711, "http"]
