"""One WebSocket connection as an asyncio protocol: handshake and inbound frames in, prebuilt frames out.

Inbound bytes go through the sans-I/O server of `websockets`, which knows RFC 6455. Outbound frames are made elsewhere,
once for all their readers, and written to the transport as they are: Starlette's and websockets' own sending was
measured at a third of this.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol

from pgcast.logs import get_logger
from pgcast.sockets.handshake import Admission, Refusal
from pgcast.sockets.options import bound_kernel_buffer

if TYPE_CHECKING:
    from collections.abc import Collection

    from websockets.frames import Frame
    from websockets.protocol import Event

    from pgcast.engine.ports import Outlet
    from pgcast.sockets.handshake import Doorkeeper
    from pgcast.sockets.options import SocketOptions

log = get_logger(__name__)

_SHUTDOWN_S = 2.0
"""How long a stopping server waits for a client to take its last bytes."""

_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


class Conversation(Protocol):
    """What a connection needs of the engine's client."""

    def receive_text(self, text: str | bytes) -> None:
        """Take a text message."""
        ...

    def receive_binary(self, data: bytes) -> None:
        """Take a binary message."""
        ...

    def receive_pong(self, data: bytes) -> None:
        """Take a pong."""
        ...

    def resumed(self) -> None:
        """The connection takes bytes again."""
        ...

    def disconnect(self) -> None:
        """Tell the client's channels that the server stops, and close the outlet such that the client comes back."""
        ...

    def gone(self, code: int | None = None) -> None:
        """The connection has ended; `code` is that of the client's close frame, if it has sent one."""
        ...


class Switchboard(Protocol):
    """What a connection needs of the node."""

    def admit(self) -> Refusal | None:
        """Say whether one more client may connect now."""
        ...

    def connect(self, admission: Admission, outlet: Outlet) -> Conversation:
        """Begin a conversation."""
        ...


class Connection(asyncio.Protocol):
    """One client's connection, and its outlet.

    Args:
        switchboard: The node.
        doorkeeper: Decides on the handshake.
        options: Buffers and limits.
        connections: Of the server: all that are open; it closes them when it stops.

    Attributes:
        is_paused: Whether the client takes bytes more slowly than they come.
        members: How many joined channels share this connection.
        writes: How often something was written.
        heard_at_s: When the client last sent anything, on the loop's clock.
        address: The client's, or the nearest proxy's that is not trusted; empty before the handshake.
    """

    def __init__(
        self, switchboard: Switchboard, doorkeeper: Doorkeeper, options: SocketOptions, connections: set[Connection]
    ) -> None:
        self.is_paused = False
        self.members = 0
        self.writes = 0
        self.heard_at_s = 0.0
        self.address = ""
        self._peer = ""
        self._switchboard = switchboard
        self._doorkeeper = doorkeeper
        self._options = options
        self._connections = connections
        self._websocket = ServerProtocol(max_size=options.max_frame_bytes)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._conversation: Conversation | None = None
        self._fragments: list[bytes] = []
        self._is_text = False
        self._has_sent_eof = False
        self._close_timer: asyncio.TimerHandle | None = None
        self._deciding: asyncio.Task[None] | None = None

    # What asyncio says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: bound the buffers."""
        transport = cast("asyncio.Transport", transport)
        self._transport = transport
        self._connections.add(self)
        self.heard_at_s = self._loop.time()
        self._peer = (transport.get_extra_info("peername") or ("",))[0]
        transport.set_write_buffer_limits(high=self._options.high_bytes, low=self._options.low_bytes)
        bound_kernel_buffer(transport.get_extra_info("socket"), self._options.kernel_bytes)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the conversation is over, whatever was left to send."""
        del exc
        self._connections.discard(self)
        self._transport = None
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        if self._deciding is not None:
            self._deciding.cancel()
            self._deciding = None
        if self._conversation is not None:
            close = self._websocket.close_rcvd
            self._conversation.gone(None if close is None else close.code)
            self._conversation = None

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        self.heard_at_s = self._loop.time()
        self._websocket.receive_data(data)
        self._take(self._websocket.events_received())

    def eof_received(self) -> None:
        """The client has sent its last byte."""
        self._websocket.receive_eof()
        self._take(self._websocket.events_received())

    def pause_writing(self) -> None:
        """The client is slow: ticks go to the ring."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """The client takes bytes again: serve what it missed."""
        self.is_paused = False
        if self._conversation is not None:
            self._conversation.resumed()

    # What the engine says (an outlet)

    # fast path: per client and tick
    def write(self, content: bytes) -> None:
        """Send whole frames."""
        transport = self._transport
        if transport is not None and self._close_timer is None and not self._has_sent_eof:
            self.writes += 1
            try:
                transport.write(content)
            except Exception:
                # It would break off the flush, and with it what all others were to get.
                transport.abort()
                log.exception("a connection cannot be written to and is ended", client=self.address)

    def buffered_bytes(self) -> int:
        """Return what the kernel has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and end the connection when the client answers it, or after a while."""
        self._close(code, reason, self._options.close_s)

    def shutdown(self) -> None:
        """Close such that the client comes back; the server is stopping and waits for it, but not for long."""
        if self._conversation is not None and self._close_timer is None:
            self._conversation.disconnect()
        if self._close_timer is not None and self._transport is not None:
            self._end_within(_SHUTDOWN_S)
        self._close(CloseCode.SERVICE_RESTART, "Server requested disconnect", _SHUTDOWN_S)

    # Inside

    def _close(self, code: int, reason: str, within_s: float) -> None:
        if self._transport is None or self._close_timer is not None:
            return
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(code, reason)
            self._flush()
        else:
            self._transport.close()
        self._end_within(within_s)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Request):
                self._answer_handshake(event)
            elif not isinstance(event, Response):
                self._take_frame(event)
        self._flush()
        if self._websocket.close_expected() and self._close_timer is None:
            self._end_within(self._options.close_s)

    def _answer_handshake(self, request: Request) -> None:
        self.address = self._address_of(request)
        if request.method != "GET":
            self._websocket.send_response(_refused(Refusal(400, "A WebSocket begins with a GET request")))
            return
        response = self._websocket.accept(request)
        if response.status_code != 101:
            self._websocket.send_response(response)
            return
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        decision = self._switchboard.admit() or self._doorkeeper.decide(request.path, headers)
        if decision is not None:
            self._decided(response, decision)
            return
        deciding = self._decide_later(response, request.path, headers)
        self._deciding = self._loop.create_task(deciding, name="handshake")

    async def _decide_later(self, response: Response, path: str, headers: dict[str, str]) -> None:
        """Answer a handshake whose decision takes a while; the client has nothing to say before it."""
        decision = await self._doorkeeper.decide_later(path, headers)
        self._deciding = None
        if self._transport is None or self._close_timer is not None:
            return
        self._decided(response, self._switchboard.admit() or decision)
        self._flush()

    def _decided(self, response: Response, decision: Admission | Refusal) -> None:
        if isinstance(decision, Admission):
            self._websocket.send_response(response)
            self._flush()
            self._conversation = self._switchboard.connect(decision, self)
            return
        log.info(
            "handshake refused",
            status=decision.status,
            error=decision.error or "unknown vsn",
            client=self.address,
        )
        self._websocket.send_response(_refused(decision))

    def _address_of(self, request: Request) -> str:
        headers = request.headers
        return self._options.proxies.origin_of(
            self._peer, headers.get_all("X-Forwarded-For"), headers.get_all("X-Forwarded-Proto")
        ).address

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._is_text = frame.opcode is Opcode.TEXT
            self._fragments = []
        elif frame.opcode is not Opcode.CONT:
            if frame.opcode is Opcode.PONG and self._conversation is not None:
                self._conversation.receive_pong(bytes(frame.data))
            return  # other control frames are answered by the protocol itself
        self._fragments.append(bytes(frame.data))
        if frame.fin:
            message = b"".join(self._fragments)
            self._fragments = []
            self._take_message(message)

    def _take_message(self, message: bytes) -> None:
        conversation = self._conversation
        if conversation is None or self._close_timer is not None:
            return
        if not self._is_text:
            conversation.receive_binary(message)
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            # RFC 6455 section 8.1: a text that is not UTF-8 fails the connection.
            self._websocket.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
            return
        conversation.receive_text(text)

    def _flush(self) -> None:
        """Send what the protocol wants to say by itself: the handshake's response, pongs, close frames."""
        transport = self._transport
        if transport is None:
            return
        for part in self._websocket.data_to_send():
            if part != SEND_EOF:
                transport.write(part)
            elif transport.can_write_eof():
                self._has_sent_eof = True  # a transport refuses whatever is written after it
                transport.write_eof()
            else:
                transport.close()

    def _end_within(self, seconds: float) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self._transport is not None:
            self._close_timer = self._loop.call_later(seconds, self._transport.abort)


def _refused(refusal: Refusal) -> Response:
    headers = Headers()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(refusal.body))
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Connection"] = "close"
    return Response(refusal.status, _REASONS.get(refusal.status, "Refused"), headers, refusal.body)


class _Request(Protocol):
    response_complete: bool


class _Plain(Protocol):
    """What uvicorn's plain HTTP connections have: the last request whose headers are complete, and the transport."""

    cycle: _Request | None
    transport: asyncio.Transport


async def close_idle(connections: Collection[object], idle_s: float) -> None:
    """Close, for ever and now and then, what has been silent for too long; one timer for all connections.

    Args:
        connections: All of the server's, plain HTTP ones among them. Those end after a response by themselves, but not
            where no request is ever complete.
        idle_s: For how long a client may be silent; 0 for ever.
    """
    loop = asyncio.get_running_loop()
    unasked: dict[_Plain, tuple[_Request | None, float]] = {}  # the last request, and since when no other one followed
    while idle_s > 0:
        await asyncio.sleep(min(idle_s / 4, 5.0))
        now_s = loop.time()
        before, unasked = unasked, {}
        for connection in list(connections):
            if isinstance(connection, Connection):
                if connection.heard_at_s < now_s - idle_s:
                    connection.close(CloseCode.SERVICE_RESTART, f"nothing heard for {idle_s:g} s")
                continue
            plain = cast("_Plain", connection)
            request = plain.cycle
            if request is not None and not request.response_complete:
                continue
            last, since_s = before.get(plain, (request, now_s))
            unasked[plain] = request, since_s if last is request else now_s
            if unasked[plain][1] < now_s - idle_s:
                plain.transport.abort()
