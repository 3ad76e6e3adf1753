"""A small client of the realtime protocol for tests: exact about frames, patient by a deadline."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.client import connect

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

DEADLINE_S = 15.0


class RealtimeClient:
    """One connection; speaks V2 unless told otherwise. Use with `async with`."""

    def __init__(
        self, url: str, *, vsn: str | None = "2.0.0", tls: ssl.SSLContext | None = None, **parameters: str
    ) -> None:
        query = "&".join(f"{name}={value}" for name, value in {"vsn": vsn, **parameters}.items() if value is not None)
        self._url = f"{url}?{query}"
        self._is_v2 = vsn is not None and vsn.startswith("2.")
        self._ref = 0
        self._tls = tls
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await connect(self._url, max_size=None, compression=None, ping_interval=None, ssl=self._tls)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.socket.close()

    async def push(self, topic: str, event: str, payload: object = None, *, join_ref: str | None = "1") -> str:
        """Send one message; return its ref."""
        self._ref += 1
        ref = str(self._ref)
        content = {} if payload is None else payload
        message: object = (
            [join_ref, ref, topic, event, content]
            if self._is_v2
            else {"topic": topic, "event": event, "payload": content, "ref": ref, "join_ref": join_ref}
        )
        await self.socket.send(json.dumps(message))
        return ref

    async def receive(self, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Return the next message as a dict of join_ref, ref, topic, event, payload."""
        async with asyncio.timeout(timeout_s):
            text = await self.socket.recv()
        parsed = json.loads(text)
        if self._is_v2:
            return dict(zip(("join_ref", "ref", "topic", "event", "payload"), parsed, strict=True))
        return parsed

    async def receive_until(
        self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = DEADLINE_S
    ) -> dict[str, Any]:
        """Return the first message that is wanted; drop those before it."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.receive()
                if wanted(message):
                    return message

    async def join(self, topic: str, *bindings: dict[str, Any], subscribed: bool = True) -> dict[str, Any]:
        """Join with `postgres_changes` bindings; return the reply's response, once the bindings are in force."""
        ref = await self.push(topic, "phx_join", {"config": {"postgres_changes": list(bindings)}})
        reply = await self.receive_until(lambda message: message["ref"] == ref and message["event"] == "phx_reply")
        assert reply["payload"]["status"] == "ok", reply
        if bindings and subscribed:
            system = await self.receive_until(lambda message: message["event"] == "system")
            assert system["payload"]["message"] == "Subscribed to PostgreSQL", system
        response: dict[str, Any] = reply["payload"]["response"]
        return response

    async def change(self, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Return the payload of the next `postgres_changes` message; drop others."""
        message = await self.receive_until(lambda message: message["event"] == "postgres_changes", timeout_s)
        payload: dict[str, Any] = message["payload"]
        return payload

    async def changes(self, count: int, timeout_s: float = DEADLINE_S) -> list[dict[str, Any]]:
        """Return the `data` of the next changes."""
        async with asyncio.timeout(timeout_s):
            return [(await self.change(timeout_s))["data"] for _ in range(count)]

    async def nothing_more(self, for_s: float = 0.5) -> None:
        """Assert that no further change comes for a moment."""
        try:
            extra = await self.change(for_s)
        except TimeoutError:
            return
        raise AssertionError(f"unexpected: {extra}")
