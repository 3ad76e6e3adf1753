"""Plain HTTP beside the WebSockets: liveness, readiness, and whatever page the command brings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request


class Readiness(Protocol):
    """What is asked of the engine's health."""

    def why_not(self, now_s: float) -> str:
        """Say in one line what is wrong; empty when ready."""
        ...


def metrics_route(registry: CollectorRegistry) -> BaseRoute:
    """Serve metrics in Prometheus' text format at `/metrics`."""

    async def metrics(request: Request) -> Response:
        del request
        # On the loop: the collector reads what only the loop changes.
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", metrics)


def websocket_routes(paths: Collection[str]) -> Sequence[BaseRoute]:
    """Refuse what is no WebSocket where one is expected: plain requests, of proxies that drop `Upgrade` for example.

    Args:
        paths: Where WebSockets are served, by somebody else.
    """
    # 404 would tell clients never to come back.
    refusal = JSONResponse({"error": "A WebSocket is expected here: GET with Connection: Upgrade"}, 400)
    return [Route(path, refusal) for path in sorted(paths)]


def make_web(health: Readiness, extra_routes: Sequence[BaseRoute] = ()) -> Starlette:
    """Make the HTTP application.

    Args:
        health: Asked by `/ready`.
        extra_routes: Served as well.
    """

    async def healthcheck(request: Request) -> Response:
        del request
        return PlainTextResponse("ok")

    async def ping(request: Request) -> Response:
        del request
        return JSONResponse({"message": "Success"})

    async def ready(request: Request) -> Response:
        del request
        reason = health.why_not(asyncio.get_running_loop().time())
        return JSONResponse({"ready": not reason, "reason": reason or None}, status_code=503 if reason else 200)

    return Starlette(
        routes=[
            Route("/healthcheck", healthcheck),
            Route("/ready", ready),
            Route("/api/ping", ping),
            Route("/realtime/v1/api/ping", ping),
            *extra_routes,
        ]
    )
