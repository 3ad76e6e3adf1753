"""The server's own WebSockets inside uvicorn: `uvicorn app:app --ws pgcast.asgi:FastWebSockets`.

uvicorn makes one protocol for each connection that wants to be a WebSocket. This one looks at the path: what belongs to
a mounted server gets the connection that the standalone server has, all else what uvicorn would have given it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from pgcast.sockets.protocol import Connection

if TYPE_CHECKING:
    from pgcast.app import Carried


class Mounted(Protocol):
    """A mounted server, as far as its connections are concerned."""

    connections: set[Connection]

    @property
    def inside(self) -> Carried | None:
        """The node, while it runs."""
        ...

    def target_of(self, path: str) -> str | None:
        """Return the path that the standalone server has for a path, None where it is none of this server's."""
        ...


class FastWebSockets(asyncio.Protocol):
    """A WebSocket protocol for uvicorn's option `ws`.

    Args:
        config: uvicorn's.
        server_state: uvicorn's.
        app_state: uvicorn's.
    """

    mounted: ClassVar[dict[Mounted, asyncio.AbstractEventLoop]] = {}
    """The servers that run in this process, and where."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any]) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._transport: asyncio.Transport
        self._protocol: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; whose it is shows with the request."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on what the client says; the request comes first, in one piece."""
        if self._protocol is None:
            self._protocol, data = self._choose(data)
            self._protocol.connection_made(self._transport)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the client has sent its last byte."""
        keep_open: bool | None = None if self._protocol is None else self._protocol.eof_received()
        return keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection has ended."""
        self._server_state.connections.discard(self)
        if self._protocol is not None:
            self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the client is slow."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it takes bytes again."""
        self._protocol.resume_writing()

    def shutdown(self) -> None:
        """Close: uvicorn is stopping."""
        self._protocol.shutdown()

    def _choose(self, data: bytes) -> tuple[asyncio.Protocol, bytes]:
        # GET /realtime/v1/websocket?vsn=2.0.0 HTTP/1.1
        method, target, rest = data.split(b" ", 2)
        path, mark, query = target.decode("latin-1").partition("?")
        loop = asyncio.get_running_loop()
        for server, its_loop in self.mounted.items():
            ours = server.target_of(path.removeprefix(self._config.root_path)) if its_loop is loop else None
            if ours is not None and server.inside is not None:
                inside = server.inside
                connection = Connection(inside.switchboard, inside.doorkeeper, inside.options, server.connections)
                # uvicorn closes what it knows when it stops, and waits for that.
                self._server_state.connections.add(self)
                return connection, b" ".join((method, f"{ours}{mark}{query}".encode("latin-1"), rest))
        if AutoWebSocketsProtocol is None:
            raise RuntimeError("uvicorn knows no WebSocket library")
        others = AutoWebSocketsProtocol(config=self._config, server_state=self._server_state, app_state=self._app_state)
        return others, data
