"""The whole server inside another ASGI application: FastAPI, Starlette, Django, or any other.

It stands before the application: what is under its path it answers itself, all else it passes on. It starts when the
application has started, and stops before the application stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pgcast.api.arguments import check_text, texts_of
from pgcast.api.listening import DEFAULT_EVENTS
from pgcast.api.wishes import kinds_of
from pgcast.app import Carried, carried
from pgcast.asgi.fast import FastWebSockets
from pgcast.asgi.handlers import ChangeHandler, begin
from pgcast.asgi.lifespan import Lifespan
from pgcast.asgi.websocket import serve_websocket
from pgcast.logs import get_logger
from pgcast.model.errors import SettingsError, SlotBusy
from pgcast.settings import read_settings
from pgcast.sockets.protocol import close_idle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from pgcast.api.changes import Event
    from pgcast.asgi.handlers import Function, WhenGap
    from pgcast.asgi.outlet import Send
    from pgcast.asgi.websocket import Receive
    from pgcast.sockets.protocol import Connection

    AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

log = get_logger(__name__)

DEFAULT_PATH: Final = "/realtime/v1"
_STANDALONE_PATH: Final = "/realtime/v1/websocket"
_ONE_PROCESS: Final = (
    "one process alone can carry the server: with several workers, run one, or `pgcast serve` beside the application"
)

F = TypeVar("F", bound="Function")


class MountedServer:
    """A server without a port of its own.

    Args:
        path: Under which it answers: `<path>/websocket`, `<path>/ready`, and so on. Clients of Supabase expect the
            default.
        variables: Settings, by the names that they have in the environment; they win over it.

    Attributes:
        path: As given.
        connections: Those of the fast path.

    Raises:
        SettingsError: A setting is wrong, or nothing says who may connect.
    """

    def __init__(self, *, path: str = DEFAULT_PATH, **variables: str) -> None:
        check_text("path", path)
        for name, value in variables.items():
            if value is None:
                raise SettingsError(f"{name}: expected text (found None)", hint="leave it out for its default")
        if path.endswith("/") or (path and not path.startswith("/")):
            raise SettingsError(f"path: expected something like {DEFAULT_PATH} (found {path[:80]!r})")
        self._settings = read_settings(variables)
        if self._settings.secure_channels and not self._settings.authenticates:
            # The standalone server listens on loopback alone then; here somebody else listens.
            raise SettingsError(
                "nothing says who may connect to the mounted server",
                hint="set JWT_SECRET, or say SECURE_CHANNELS=false to let everybody in who reaches the application",
            )
        self.connections: set[Connection] = set()
        self.path = path
        self._handlers: list[ChangeHandler] = []
        self._inside: Carried | None = None
        self._stack: contextlib.AsyncExitStack | None = None
        self._is_starting = False

    @property
    def inside(self) -> Carried | None:
        """The node and what its clients meet, while it runs."""
        return self._inside

    def on(
        self,
        tables: str | Iterable[str],
        *,
        events: Iterable[Event] = DEFAULT_EVENTS,
        filter: str | None = None,  # noqa: A002 - as in the protocol
        when_gap: WhenGap | None = None,
    ) -> Callable[[F], F]:
        """Register an async function that is called for each change that commits while the server runs.

        One call at a time, in commit order. One that raises is logged, one that is slow has a queue of its own;
        where that is full, changes are passed over and `when_gap` is called. What a stop or a crash interrupts
        is not repeated: for work that must not be missed there is `pgcast.listen`.

        Args:
            tables: `schema.table`, `table` (in public), `schema.*` or `*`; one, or several.
            events: Of INSERT, UPDATE, DELETE and TRUNCATE.
            filter: In the language of the clients' filters, for all of the tables.
            when_gap: An async function that is called where changes were passed over or lost.

        Raises:
            SettingsError: A function is not async, the server runs already, or an argument is of another type.
            BindingError: One of the events is none.
        """
        names = texts_of("tables", tables)
        kinds = kinds_of(texts_of("events", events))
        if filter is not None:
            check_text("filter", filter)
        if when_gap is not None:
            _check_async("when_gap", when_gap)

        def register(function: F) -> F:
            _check_async("a handler", function)
            if self._inside is not None or self._is_starting:
                raise SettingsError("the server runs already: register handlers before it starts")
            self._handlers.append(ChangeHandler(function, names, kinds, filter, when_gap))
            return function

        return register

    def wrap(self, app: AsgiApp) -> AsgiApp:
        """Return an application that has both: what is under the path, and the given one for all else."""
        return Wrapped(app, server=self)

    async def start(self) -> None:
        """Start; the wrapped application's lifespan does it, where there is one.

        Raises:
            SettingsError: A setting cannot be used.
            BindingError: What a handler wants cannot be served.
            DatabaseError: The replication stream cannot be opened; the subclass says why.
        """
        if self._stack is not None or self._is_starting:
            raise SettingsError("the mounted server runs already", hint="one lifespan, or one call of start, is enough")
        self._is_starting = True
        try:
            self._inside, self._stack = await self._open()
        except SlotBusy as error:
            raise SlotBusy(error.message, hint=f"{_ONE_PROCESS}. Otherwise: {error.hint}") from error
        finally:
            self._is_starting = False

    async def _open(self) -> tuple[Carried, contextlib.AsyncExitStack]:
        async with contextlib.AsyncExitStack() as stack:
            inside = await stack.enter_async_context(carried(self._settings))
            for handler in self._handlers:
                handling = await begin(handler, inside.node, inside.node.catalog, self._settings.publications)
                stack.push_async_callback(handling.stop)
            idle = asyncio.create_task(close_idle(self.connections, self._settings.idle_s), name="idle")
            stack.callback(idle.cancel)
            FastWebSockets.mounted[self] = asyncio.get_running_loop()
            stack.callback(FastWebSockets.mounted.pop, self)
            return inside, stack.pop_all()

    async def stop(self) -> None:
        """Stop; twice is safe."""
        stack, self._stack = self._stack, None
        self._inside = None
        if stack is not None:
            await stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def target_of(self, path: str) -> str | None:
        """Return the path that the standalone server has for a WebSocket's path; None where it is none of ours."""
        return _STANDALONE_PATH if path == f"{self.path}/websocket" else None

    def below(self, path: str) -> str | None:
        """Return a path without ours before it; None where it is none of ours."""
        return path.removeprefix(self.path) if path.startswith(f"{self.path}/") else None


def _check_async(what: str, function: object) -> None:
    is_async: bool = inspect.iscoroutinefunction(function)
    if not is_async:
        raise SettingsError(f"{what} is an async function (found {function!r})")


class Wrapped:
    """An application with a mounted server before it; an ASGI middleware.

    Args:
        app: The application.
        server: The server.
    """

    def __init__(self, app: AsgiApp, *, server: MountedServer) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer what is ours, and pass on all else."""
        if scope["type"] == "lifespan":
            await Lifespan(self._app, self._server).run(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if scope["type"] == "http" and self._server.below(path) is not None:
            await self._http(scope, receive, send, self._server.below(path))
        elif scope["type"] == "websocket" and self._server.target_of(path) is not None:
            await self._websocket(scope, receive, send, self._server.target_of(path))
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: dict[str, Any], receive: Receive, send: Send, path: str | None) -> None:
        inside = self._server.inside
        if inside is None:
            headers = [(b"content-type", b"text/plain")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _NOT_STARTED})
            return
        before = f"{scope.get('root_path', '')}{self._server.path}".encode()
        raw_path = (scope.get("raw_path") or scope["path"].encode()).removeprefix(before)
        await inside.web({**scope, "path": path, "raw_path": raw_path, "root_path": ""}, receive, send)  # type: ignore[arg-type]

    async def _websocket(self, scope: dict[str, Any], receive: Receive, send: Send, target: str | None) -> None:
        inside = self._server.inside
        if inside is None:
            log.warning(_NOT_STARTED.decode())
            await send({"type": "websocket.close", "code": 1013, "reason": "not started"})
            return
        query = scope["query_string"].decode("latin-1")
        await serve_websocket(scope, receive, send, inside=inside, target=f"{target}?{query}")


_NOT_STARTED: Final = b"the mounted server was not started: have lifespan events sent, or await its start()\n"


def mount(app: Any, *, path: str = DEFAULT_PATH, **variables: str) -> MountedServer:
    """Carry a server inside a FastAPI or Starlette application; it starts and stops with it.

    For other ASGI applications, such as Django's, see `MountedServer.wrap`.

    Args:
        app: The application.
        path: As for `MountedServer`.
        variables: Settings, by the names that they have in the environment; they win over it.

    Raises:
        SettingsError: A setting is wrong, nothing says who may connect, or the application takes no middleware.
    """
    if not hasattr(app, "add_middleware"):
        raise SettingsError(
            f"a {type(app).__name__} cannot be mounted to",
            hint="server = pgcast.MountedServer(...); application = server.wrap(application)",
        )
    server = MountedServer(path=path, **variables)
    app.add_middleware(Wrapped, server=server)
    return server
