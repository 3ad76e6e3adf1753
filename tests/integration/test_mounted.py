"""The server inside another ASGI application, under uvicorn: clients, handlers, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import django
import httpx
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import pgcast
from fix_node import free_port
from listened import DEADLINE_S, run
from realtime_client import RealtimeClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from pgcast.devdb.template import Database

FAST = "pgcast.asgi:FastWebSockets"
EVERYBODY = {"SECURE_CHANNELS": "false", "SLOT_NAME": "mounted"}


class Log:
    """What an application and its handlers noted."""

    def __init__(self) -> None:
        self.noted: list[Any] = []
        self._news = asyncio.Event()

    def note(self, what: Any) -> None:
        self.noted.append(what)
        self._news.set()

    async def has(self, count: int) -> list[Any]:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.noted) < count:
                self._news.clear()
                await self._news.wait()
        return self.noted


@asynccontextmanager
async def served(app: Any, **more: Any) -> AsyncIterator[str]:
    """Run uvicorn with an application; yield its address without the scheme."""
    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, timeout_graceful_shutdown=5, **more)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def close_code(client: RealtimeClient) -> int | None:
    """The code with which a server ends the connection."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await client.receive()
            except ConnectionClosed as closed:
                return closed.rcvd and closed.rcvd.code


def fastapi_app(log: Log) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        log.note("up")
        yield
        log.note("down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    return app


@pytest.mark.parametrize("ws", ["auto", FAST])
async def test_in_fastapi_clients_and_the_application_s_own_routes_share_a_port(published: Database, ws: str):
    log = Log()
    app = fastapi_app(log)
    pgcast.mount(app, DATABASE_URL=published.dsn, **EVERYBODY)
    async with served(app, ws=ws) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            assert (await http.get("/hello")).json() == "hello"
            assert (await http.get("/realtime/v1/ready")).json() == {"ready": True, "reason": None}
            assert (await http.get("/realtime/v1/nowhere")).status_code == 404
            assert (await http.get("/ready")).status_code == 404
        async with connect(f"ws://{address}/echo") as socket:
            await socket.send("mine")
            assert await socket.recv() == "mine"
        async with RealtimeClient(f"ws://{address}/realtime/v1/websocket") as client:
            await client.join("realtime:room", {"event": "*", "schema": "public", "table": "todos"})
            await run(published, "insert into todos values (1, 'milk')")
            (change,) = await client.changes(1)
            assert change["record"] == {"id": 1, "title": "milk", "done": False}
            await client.join("realtime:a/b")
            async with httpx.AsyncClient(base_url=f"http://{address}/realtime/v1") as http:
                sent = await http.post("/api/broadcast/a%2Fb/events/hello", json={"who": "you"})
                assert sent.status_code == 202
            async with asyncio.timeout(DEADLINE_S):
                while isinstance(message := await client.socket.recv(), str):
                    continue  # broadcasts are binary in this protocol
            assert message.endswith(b'realtime:a/bhello{"who":"you"}')
    assert log.noted == ["up", "down"]


async def test_in_starlette_under_another_path(published: Database):
    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.path)

    app = Starlette(routes=[Route("/", home)])
    pgcast.mount(app, path="/live", DATABASE_URL=published.dsn, **EVERYBODY)
    for ws in ("auto", FAST):
        async with served(app, ws=ws) as address:
            async with httpx.AsyncClient(base_url=f"http://{address}") as http:
                assert (await http.get("/")).text == "/"
                assert (await http.get("/live/api/ping")).status_code == 200
            async with RealtimeClient(f"ws://{address}/live/websocket", vsn="1.0.0") as client:
                await client.join("realtime:room", {"event": "*", "schema": "public"})
                await run(published, f"insert into todos values ({len(ws)})")
                (change,) = await client.changes(1)
                assert change["record"]["id"] == len(ws)


async def test_in_django(published: Database):
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_site"
    django.setup()
    from django.core.asgi import get_asgi_application  # noqa: PLC0415 - needs the setup

    log = Log()
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)

    @server.on("todos")
    async def note(change: pgcast.PlainChange) -> None:
        log.note(change.record)

    async with served(server.wrap(get_asgi_application())) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            assert (await http.get("/hello/")).text == "hello"
        async with RealtimeClient(f"ws://{address}/realtime/v1/websocket") as client:
            await client.join("realtime:room", {"event": "*", "schema": "public"})
            await run(published, "insert into todos values (1, 'milk')")
            await client.changes(1)
        assert await log.has(1) == [{"id": 1, "title": "milk", "done": False}]


@pytest.mark.parametrize("ws", ["auto", FAST])
async def test_who_may_not_connect_is_refused_with_a_status(published: Database, ws: str):
    app = fastapi_app(Log())
    pgcast.mount(app, DATABASE_URL=published.dsn, SLOT_NAME="mounted", JWT_SECRET="a-secret-of-at-least-32-characters")
    async with served(app, ws=ws) as address:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/realtime/v1/websocket")
        assert refused.value.response.status_code == 401
        assert b"API key is missing" in (refused.value.response.body or b"")


@pytest.mark.parametrize("ws", ["auto", FAST])
async def test_a_stopping_application_sends_its_clients_away_such_that_they_come_back(published: Database, ws: str):
    app = fastapi_app(Log())
    pgcast.mount(app, DATABASE_URL=published.dsn, **EVERYBODY)
    async with contextlib.AsyncExitStack() as stack:
        async with served(app, ws=ws) as address:
            client = await stack.enter_async_context(RealtimeClient(f"ws://{address}/realtime/v1/websocket"))
            await client.join("realtime:room", {"event": "*", "schema": "public"})
        assert await close_code(client) == 1012


async def test_a_database_that_cannot_be_followed_stops_the_application_with_the_reason():
    log = Log()
    app = fastapi_app(log)
    pgcast.mount(app, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", **EVERYBODY)
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(event: dict[str, Any]) -> None:
        said.append(event)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)  # type: ignore[arg-type]
    (answer,) = said
    assert answer["type"] == "lifespan.startup.failed"
    assert "127.0.0.1:1" in answer["message"]
    assert log.noted == ["up", "down"], "what the application had begun was ended"


async def test_a_connection_that_a_test_client_ends_ends_quietly(published: Database):
    """As Starlette's TestClient does it: a disconnect, and the cancellation of its scope soon after."""
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)
    app = server.wrap(fastapi_app(Log()))  # type: ignore[arg-type]
    path = "/realtime/v1/websocket"
    async with server:
        for turns in range(12):
            events = iter(["websocket.connect", "websocket.disconnect"])
            with anyio.CancelScope() as scope:

                def cancel(turns: int, scope: anyio.CancelScope = scope) -> None:
                    if turns:
                        asyncio.get_running_loop().call_soon(cancel, turns - 1)
                    else:
                        scope.cancel()

                async def receive(turns: int = turns, events: Any = events, cancel: Any = cancel) -> dict[str, Any]:
                    event = next(events)
                    if event == "websocket.disconnect":
                        asyncio.get_running_loop().call_soon(cancel, turns)
                    return {"type": event}

                async def send(event: Any) -> None: ...

                await app({"type": "websocket", "path": path, "query_string": b"", "headers": []}, receive, send)
                await anyio.sleep_forever()
            assert scope.cancelled_caught


async def test_a_second_process_is_told_that_one_alone_can_carry_the_server(
    published: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pgcast.engine.node._BUSY_S", 0.1)
    async with pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY):
        second = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)
        with pytest.raises(pgcast.DatabaseError, match="is active for PID") as raised:
            await second.start()
    assert "with several workers, run one" in raised.value.hint


async def test_a_server_starts_once_and_knows_its_handlers_by_then(published: Database):
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)

    async def handler(change: pgcast.PlainChange) -> None: ...

    first = asyncio.create_task(server.start())
    await asyncio.sleep(0)
    with pytest.raises(pgcast.SettingsError, match="runs already"):
        await server.start()
    with pytest.raises(pgcast.SettingsError, match="before it starts"):
        server.on("todos")(handler)
    await first
    await server.stop()
    server.on("todos")(handler)
    async with server:
        assert server.inside is not None


async def test_a_handler_that_fails_or_hangs_concerns_no_other(published: Database, caplog: Any):
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)
    log = Log()

    @server.on("todos", events=["INSERT"])
    async def hangs(change: pgcast.PlainChange) -> None:
        await asyncio.Event().wait()

    @server.on("todos", events=["INSERT"])
    async def fails(change: pgcast.PlainChange) -> None:
        if (change.record or {})["id"] == 2:
            raise asyncio.CancelledError
        raise ValueError("no good")

    @server.on("todos", events=["UPDATE"], filter="id=gt.1")
    async def notes(change: pgcast.PlainChange) -> None:
        log.note((change.record or {})["id"])

    async with server:
        await run(published, "insert into todos select generate_series(1, 3)")
        await run(published, "update todos set title = 'x'")
        assert await log.has(2) == [2, 3]
    failures = [record for record in caplog.records if "a handler failed" in record.getMessage()]
    assert len(failures) == 2
    assert "a handler was cancelled" in caplog.text
    assert "fails" in failures[0].getMessage()
    assert failures[0].exc_info is not None


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_server(
    published: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, comes_back: bool
):
    monkeypatch.setattr("pgcast.asgi.handlers._STOP_S", 0.2)
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)
    log = Log()
    end = asyncio.Event()

    @server.on("todos")
    async def stubborn(change: pgcast.PlainChange) -> None:
        log.note(change)
        while not end.is_set():
            try:
                await end.wait()
            except asyncio.CancelledError:
                if comes_back:
                    return

    async with asyncio.timeout(DEADLINE_S):
        async with server:
            await run(published, "insert into todos values (1)")
            await log.has(1)
    assert ("a handler does not end" in caplog.text) is not comes_back
    end.set()
    await asyncio.sleep(0)


async def test_a_handler_is_called_for_what_commits_from_now_on_also_when_the_slot_brings_older_things(
    published: Database,
):
    seen = []
    for round_number in (1, 2):
        server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)
        log = Log()

        @server.on("*")
        async def notes(change: pgcast.PlainChange, log: Log = log) -> None:
            log.note((change.record or {})["id"])

        await run(published, f"insert into todos values ({round_number}0)")
        async with server:
            await run(published, f"insert into todos values ({round_number}1)")
            seen += list(await log.has(1))
    assert seen == [11, 21]


async def test_a_handler_that_is_too_slow_is_told_of_the_gap(published: Database):
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)
    log = Log()
    may_go_on = asyncio.Event()

    async def refetch() -> None:
        log.note("gap")

    @server.on("todos", when_gap=refetch)
    async def slow(change: pgcast.PlainChange) -> None:
        await may_go_on.wait()
        log.note((change.record or {})["id"])

    async with server:
        await run(published, "insert into todos select generate_series(1, 20000)")
        async with RealtimeGuard(server):
            may_go_on.set()
        noted = await log.has(4_001)
        at = noted.index("gap")
        assert noted[:at] == list(range(1, at + 1))
        await run(published, "insert into todos values (30000)")
        assert 30000 in await log.has(at + 2)


class RealtimeGuard:
    """Waits until a server has read everything that is committed."""

    def __init__(self, server: pgcast.MountedServer) -> None:
        self._server = server

    async def __aenter__(self) -> None:
        inside = self._server.inside
        assert inside is not None
        async with asyncio.timeout(DEADLINE_S):
            while inside.node.hub.window.end < 20_000:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)

    async def __aexit__(self, *exc: object) -> None:
        return None


def test_what_a_handler_cannot_ask_for_is_said_where_it_is_registered():
    server = pgcast.MountedServer(DATABASE_URL="postgresql:///none", **EVERYBODY)

    async def handler(change: pgcast.PlainChange) -> None: ...

    def not_async() -> None: ...

    server.on("todos", events="INSERT")(handler)  # type: ignore[arg-type]
    with pytest.raises(pgcast.BindingError, match="'insert'"):
        server.on("todos", events=["insert"])  # type: ignore[list-item]
    with pytest.raises(pgcast.SettingsError, match="tables: expected text"):
        server.on(None)  # type: ignore[arg-type]
    with pytest.raises(pgcast.SettingsError, match="filter: expected text"):
        server.on("todos", filter=5)  # type: ignore[arg-type]
    with pytest.raises(pgcast.SettingsError, match="when_gap is an async function"):
        server.on("todos", when_gap=not_async)  # type: ignore[arg-type]
    with pytest.raises(pgcast.SettingsError, match="a handler is an async function"):
        server.on("todos")(not_async)  # type: ignore[type-var]


async def test_a_handler_whose_table_is_not_there_is_named(published: Database):
    server = pgcast.MountedServer(DATABASE_URL=published.dsn, **EVERYBODY)

    @server.on("nowhere")
    async def notes(change: pgcast.PlainChange) -> None: ...

    with pytest.raises(pgcast.BindingError, match=r"handler .*notes: public\.nowhere"):
        await server.start()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "JWT_SECRET"),
        ({"SECURE_CHANNELS": "false", "PORT": "much"}, "PORT"),
        ({"SECURE_CHANNELS": "false", "path": "realtime/"}, "path"),
        ({"SECURE_CHANNELS": "false", "path": None}, "path: expected text"),
        ({"SECURE_CHANNELS": "false", "DATABASE_URL": None}, "DATABASE_URL: expected text (found None)"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_named(variables: dict[str, Any], words: str):
    with pytest.raises(pgcast.SettingsError) as raised:
        pgcast.MountedServer(**variables)
    assert words in f"{raised.value.message} {raised.value.hint}"


@asynccontextmanager
async def joined(published: Database, **variables: str) -> AsyncIterator[RealtimeClient]:
    """A client of a server that is mounted the slow way."""
    app = fastapi_app(Log())
    pgcast.mount(app, DATABASE_URL=published.dsn, **EVERYBODY, **variables)
    async with served(app) as address, RealtimeClient(f"ws://{address}/realtime/v1/websocket") as client:
        await client.join("realtime:room", {"event": "*", "schema": "public", "table": "todos"})
        yield client


async def test_a_silent_client_is_sent_away(published: Database):
    async with joined(published, PGCAST_IDLE_S="2") as client:
        assert await close_code(client) == 1012


async def test_a_client_that_says_too_much_at_once_is_sent_away(published: Database):
    async with joined(published, PGCAST_MAX_FRAME_BYTES="1024") as client:
        await client.push("phoenix", "heartbeat", {"long": "x" * 2000})
        assert await close_code(client) == 1009


async def test_a_slow_reader_slows_nobody_and_is_sent_away_when_the_window_has_passed_it(published: Database):
    small = {"PGCAST_WINDOW_MB": "1", "PGCAST_RING_MB": "1", "PGCAST_HOLD_S": "0"}
    count = 20_000
    async with joined(published, **small) as slow:
        slow.socket.transport.pause_reading()
        address = slow.socket.remote_address
        async with RealtimeClient(f"ws://{address[0]}:{address[1]}/realtime/v1/websocket") as quick:
            await quick.join("realtime:quick", {"event": "INSERT", "schema": "public", "table": "todos"})
            for first in range(1, count, 1000):
                await run(
                    published,
                    f"insert into todos select g, repeat('x', 1000) from generate_series({first}, {first + 999}) g",
                )
                got = await quick.changes(1000)
                assert [change["record"]["id"] for change in got] == list(range(first, first + 1000))
        slow.socket.transport.resume_reading()
        assert await close_code(slow) == 1013
