"""ASGI's lifespan, with a server started after the application, and stopped before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Startable(Protocol):
    """What is started and stopped."""

    async def start(self) -> None:
        """Start."""
        ...

    async def stop(self) -> None:
        """Stop; twice is safe."""
        ...


class Lifespan:
    """One lifespan of an application and a server.

    Args:
        app: The application; it may know no lifespan.
        server: The server.
    """

    def __init__(self, app: Callable[[Any, Any, Any], Awaitable[None]], server: Startable) -> None:
        self._app = app
        self._server = server
        self._receive: Callable[[], Awaitable[dict[str, Any]]]
        self._send: Callable[[dict[str, Any]], Awaitable[None]]
        self._is_asked = False
        self._has_answered = False
        self._has_failed = False

    async def run(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Take part in the lifespan until it ends."""
        self._receive, self._send = receive, send
        try:
            await self._app(scope, self._receive_between, self._send_between)
        except Exception:
            # What an application does that knows no lifespan, Django's for example.
            if self._has_answered:
                await self._server.stop()
                raise
            await self._run_alone()
            return
        if not self._has_answered:
            await self._run_alone()

    async def _receive_between(self) -> dict[str, Any]:
        if self._has_failed:
            return {"type": "lifespan.shutdown"}  # the application is up, and has to come down again
        event = await self._receive()
        self._is_asked = self._is_asked or event["type"] == "lifespan.startup"
        if event["type"] == "lifespan.shutdown":
            await self._server.stop()
        return event

    async def _send_between(self, event: dict[str, Any]) -> None:
        if self._has_failed:
            return
        self._has_answered = True
        if event["type"] == "lifespan.startup.complete":
            event = await self._start()
            self._has_failed = event["type"] != "lifespan.startup.complete"
        await self._send(event)

    async def _run_alone(self) -> None:
        if not self._is_asked:
            await self._receive()
        self._has_answered = True
        answer = await self._start()
        await self._send(answer)
        if answer["type"] == "lifespan.startup.complete":
            await self._receive()
            await self._server.stop()
            await self._send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> dict[str, Any]:
        try:
            await self._server.start()
        except PgcastError as error:
            words = [f"pgcast: {error.message}", *([f"fix: {error.hint}"] if error.hint else [])]
            return {"type": "lifespan.startup.failed", "message": "\n  ".join(words)}
        return {"type": "lifespan.startup.complete"}
