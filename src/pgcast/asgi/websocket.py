"""One WebSocket of an ASGI server: the handshake decided, the conversation held, both directions until one ends."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pgcast.asgi.outlet import AsgiOutlet
from pgcast.logs import get_logger
from pgcast.sockets.handshake import Admission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pgcast.app import Carried
    from pgcast.asgi.outlet import Send
    from pgcast.sockets.handshake import Refusal
    from pgcast.sockets.protocol import Conversation

    Receive = Callable[[], Awaitable[dict[str, Any]]]

log = get_logger(__name__)

_TOO_LARGE = 1009
_RESTART = 1012


async def serve_websocket(scope: dict[str, Any], receive: Receive, send: Send, *, inside: Carried, target: str) -> None:
    """Serve one client until it has gone.

    Args:
        scope: The connection's.
        receive: Its next event.
        send: Takes an event.
        inside: The node and its doorkeeper.
        target: Path and query, as the standalone server would see them.
    """
    if (await receive())["type"] != "websocket.connect":
        return
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    decision = inside.switchboard.admit() or inside.doorkeeper.decide(target, headers)
    if decision is None:
        later = await inside.doorkeeper.decide_later(target, headers)
        decision = inside.switchboard.admit() or later
    if not isinstance(decision, Admission):
        log.info("handshake refused", status=decision.status, error=decision.error or "unknown vsn")
        await _refuse(scope, send, decision)
        return
    await send({"type": "websocket.accept"})
    outlet = AsgiOutlet(inside.options)
    conversation = inside.switchboard.connect(decision, outlet)
    outlet.when_resumed = conversation.resumed
    sending = outlet.start(send)
    receiving = asyncio.create_task(_receive(receive, conversation, outlet, inside), name="websocket")
    tasks = {sending, receiving}
    for task in tasks:
        task.add_done_callback(_ended)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        conversation.gone()
        for task in tasks:
            task.cancel()
        # Not `gather`: cancelled in it, one is told so without the words by which anyio knows its own cancellations.
        await asyncio.wait(tasks)


def _ended(task: asyncio.Task[None]) -> None:
    """Note how a task ended: an ASGI server may say by any exception that the client has gone."""
    if not task.cancelled():
        task.exception()


async def _receive(receive: Receive, conversation: Conversation, outlet: AsgiOutlet, inside: Carried) -> None:
    idle_s = inside.options.idle_s or None
    while True:
        try:
            async with asyncio.timeout(idle_s):
                event = await receive()
        except TimeoutError:
            outlet.close(_RESTART, f"nothing heard for {idle_s:g} s")
            idle_s = None
            continue
        if event["type"] != "websocket.receive":
            return
        content: str | bytes = event.get("text") or event.get("bytes") or ""
        if len(content) > inside.options.max_frame_bytes:
            outlet.close(_TOO_LARGE, f"more than {inside.options.max_frame_bytes} bytes")
        elif isinstance(content, str):
            conversation.receive_text(content)
        else:
            conversation.receive_binary(content)


async def _refuse(scope: dict[str, Any], send: Send, refusal: Refusal) -> None:
    """Answer with the refusal's status where the ASGI server can, otherwise with its 403."""
    with contextlib.suppress(OSError):
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [(b"content-type", b"application/json"), (b"access-control-allow-origin", b"*")]
        await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": refusal.body})
