"""One connection over a transport in memory, spoken to by the sans-I/O client of `websockets`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from fix_clock import Clock
from pgcast.frames.codec import serializer_for
from pgcast.frames.websocket import text_frame
from pgcast.sockets.handshake import Admission, Refusal
from pgcast.sockets.options import SocketOptions
from pgcast.sockets.protocol import Connection, close_idle

OPTIONS = SocketOptions(max_frame_bytes=2000, close_s=10)


class MemoryTransport(asyncio.Transport):
    """Keeps what is written, until the connection is ended."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.written = bytearray()
        self.limits: tuple[int | None, int | None] = (None, None)
        self.buffered = 0
        self.is_ended = False
        self.is_aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_ended, "written to after the end"
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (low, high)

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_ended = True

    def close(self) -> None:
        self.is_ended = True
        self.connection.connection_lost(None)

    def abort(self) -> None:
        self.is_aborted = True
        self.close()


class Desk:
    """Stands in for node and client: admits everybody, unless told otherwise, and keeps what is said."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.heard: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.resumptions = 0
        self.departures = 0
        self.outlet: Any = None
        self.codes: list[int | None] = []
        self.later: asyncio.Future[Admission | Refusal] | None = None

    def admit(self) -> Refusal | None:
        return self.refusal

    def decide(self, target: str, headers: Any) -> Admission | Refusal | None:
        assert "upgrade" in headers
        if self.later is not None:
            return None
        return Admission(serializer_for("2.0.0"), None) if "vsn=9" not in target else Refusal(403, "")

    async def decide_later(self, target: str, headers: Any) -> Admission | Refusal:
        assert target.startswith("/socket/websocket")
        assert self.later is not None
        assert "upgrade" in headers
        return await self.later

    def connect(self, _: object, outlet: object) -> Desk:
        self.outlet = outlet
        return self

    def receive_text(self, text: str | bytes) -> None:
        self.heard.append(text)

    def receive_binary(self, data: bytes) -> None:
        self.heard.append(data)

    def receive_pong(self, data: bytes) -> None:
        self.pongs.append(data)

    def resumed(self) -> None:
        self.resumptions += 1

    def disconnect(self) -> None:
        self.outlet.write(text_frame(b"goodbye"))
        self.outlet.close(1012, "Server requested disconnect")

    def gone(self, code: int | None = None) -> None:
        self.departures += 1
        self.codes.append(code)


class Rig:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.desk = Desk()
        self.open: set[Connection] = set()
        self.connection = Connection(self.desk, self.desk, OPTIONS, self.open)
        self.transport = MemoryTransport(self.connection)
        self.connection.connection_made(self.transport)
        self.client: ClientProtocol

    def shake_hands(self, query: str = "") -> None:
        self.client = ClientProtocol(parse_uri(f"ws://localhost/socket/websocket{query}"), max_size=None)
        self.client.send_request(self.client.connect())
        self.deliver()
        self.events = self.receive()

    def deliver(self) -> None:
        """Let what the client wants to send arrive."""
        for data in self.client.data_to_send():
            if data:
                self.connection.data_received(data)

    def receive(self) -> list[Any]:
        """Return the frames that the server has written."""
        data, self.transport.written = bytes(self.transport.written), bytearray()
        self.client.receive_data(data)
        return self.client.events_received()

    @property
    def farewell(self) -> tuple[int, str] | None:
        """Code and reason of the server's close frame."""
        self.receive()
        close = self.client.close_rcvd
        return None if close is None else (close.code, close.reason)

    def say(self, text: str) -> None:
        self.client.send_text(text.encode())
        self.deliver()


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    made = Rig(clock)
    made.shake_hands()
    return made


async def test_a_handshake_begins_a_conversation(rig: Rig):
    (response,) = rig.events
    assert response.status_code == 101
    rig.say("hello")
    rig.client.send_binary(b"\x01")
    rig.deliver()
    assert rig.desk.heard == ["hello", b"\x01"]


async def test_a_socket_that_cannot_be_written_to_ends_its_own_connection_only(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    def fail(data: bytes) -> None:
        raise RuntimeError(f"{len(data)} bytes after the end")

    monkeypatch.setattr(rig.transport, "write", fail)
    rig.connection.write(b"a frame")  # in the middle of a flush: nothing must come out of it
    assert rig.transport.is_aborted
    assert rig.desk.departures == 1


async def test_the_process_s_buffer_is_bounded(rig: Rig):
    assert rig.transport.limits == (OPTIONS.low_bytes, OPTIONS.high_bytes)
    rig.transport.buffered = 77
    assert rig.connection.buffered_bytes() == 77


@pytest.mark.parametrize(
    ("refusal", "query", "status", "body"),
    [
        (Refusal(429, "Too many connected users"), "", 429, b'{"error":"Too many connected users"}'),
        (Refusal(503, "Realtime is restarting, please standby"), "", 503, None),
        (None, "?vsn=9", 403, b""),
    ],
)
async def test_a_refusal_is_an_http_response_and_the_end(
    clock: Clock, refusal: Refusal | None, query: str, status: int, body: bytes | None
):
    rig = Rig(clock)
    rig.desk.refusal = refusal
    rig.shake_hands(query)
    (response,) = rig.events
    assert response.status_code == status
    assert body is None or (response.body or b"") == body
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert rig.desk.departures == 0
    await clock.advance(OPTIONS.close_s + 1, step_s=1)
    assert rig.open == set(), "a client that does not hang up is hung up on"


async def test_fragments_are_one_message(rig: Rig):
    rig.client.send_text(b"hel", fin=False)
    rig.client.send_ping(b"between")
    rig.client.send_continuation(b"lo", fin=True)
    rig.deliver()
    assert rig.desk.heard == ["hello"]
    assert [(frame.opcode, frame.data) for frame in rig.receive()] == [(Opcode.PONG, b"between")]


async def test_a_character_may_be_cut_in_two_by_fragments(rig: Rig):
    rig.client.send_text(b"\xc3", fin=False)
    rig.client.send_continuation(b"\xbc", fin=True)
    rig.deliver()
    assert rig.desk.heard == ["ü"]


async def test_a_text_that_is_not_utf_8_ends_the_connection(rig: Rig):
    rig.client.send_text(b"\xff")
    rig.deliver()
    assert rig.farewell == (1007, "text is not UTF-8")
    assert rig.desk.heard == []


async def test_a_message_that_is_too_large_ends_the_connection(rig: Rig):
    rig.say("x" * 2001)
    assert rig.farewell is not None
    assert rig.farewell[0] == 1009
    assert rig.desk.heard == []


async def test_frames_are_written_as_they_are(rig: Rig):
    rig.connection.write(text_frame(b"one") + text_frame(b"two"))
    assert [bytes(frame.data) for frame in rig.receive()] == [b"one", b"two"]


async def test_a_slow_client_is_paused_until_it_takes_bytes_again(rig: Rig):
    rig.connection.pause_writing()
    assert rig.connection.is_paused
    rig.connection.resume_writing()
    assert not rig.connection.is_paused
    assert rig.desk.resumptions == 1


async def test_closing_says_why_and_ends_when_the_client_answers(rig: Rig):
    rig.connection.close(1013, "too slow")
    rig.connection.close(1013, "too slow")
    (frame,) = rig.receive()
    assert frame.opcode is Opcode.CLOSE
    assert rig.farewell == (1013, "too slow")
    rig.deliver()
    assert rig.transport.is_ended


async def test_a_client_that_does_not_answer_a_close_is_cut_off(rig: Rig):
    rig.connection.close(1013, "too slow")
    await rig.clock.advance(OPTIONS.close_s - 1, step_s=0.5)
    assert not rig.transport.is_aborted
    await rig.clock.advance(2, step_s=0.5)
    assert rig.transport.is_aborted
    assert rig.desk.departures == 1


async def test_a_stopping_server_waits_no_longer_than_two_seconds(rig: Rig):
    rig.connection.close(1013, "too slow")
    rig.connection.shutdown()
    await rig.clock.advance(2.5, step_s=0.5)
    assert rig.transport.is_aborted


async def test_a_stopping_server_sends_its_clients_away_such_that_they_come_back(rig: Rig):
    rig.connection.shutdown()
    told, closed = rig.receive()
    assert bytes(told.data) == b"goodbye", "first its channels are told"
    assert closed.data[:2] == (1012).to_bytes(2, "big")
    await rig.clock.advance(2.5, step_s=0.5)
    assert rig.transport.is_aborted


async def test_after_a_close_nothing_more_is_said_or_heard(rig: Rig):
    rig.connection.close(1013, "too slow")
    rig.connection.write(text_frame(b"late"))
    rig.say("late")
    assert [frame.opcode for frame in rig.receive()] == [Opcode.CLOSE]
    assert rig.desk.heard == []


async def test_a_close_by_the_client_is_answered(rig: Rig):
    rig.client.send_close(1000)
    rig.deliver()
    assert [frame.opcode for frame in rig.receive()] == [Opcode.CLOSE]
    assert rig.transport.is_ended


async def test_a_connection_that_breaks_ends_the_conversation_once(rig: Rig):
    rig.connection.connection_lost(ConnectionResetError())
    rig.connection.connection_lost(None)
    assert rig.desk.departures == 1
    assert rig.open == set()
    rig.connection.write(text_frame(b"late"))
    rig.connection.close(1000, "")
    rig.connection.shutdown()
    assert rig.connection.buffered_bytes() == 0


async def test_a_client_that_shuts_its_side_without_a_close_is_gone(rig: Rig):
    rig.connection.eof_received()
    rig.connection.write(text_frame(b"late"))  # a transport refuses what is written after its end
    rig.transport.close()  # as asyncio does where the protocol does not want it kept open
    assert rig.open == set()
    assert rig.desk.departures == 1
    assert rig.desk.codes == [None]


async def test_a_pong_is_handed_on_and_is_no_message(rig: Rig):
    rig.client.send_frame(Frame(Opcode.PONG, b"7"))
    rig.deliver()
    assert rig.desk.pongs == [b"7"]
    assert rig.desk.heard == []
    assert rig.receive() == []


async def test_a_client_that_says_nothing_for_too_long_is_sent_away(rig: Rig):
    closing = asyncio.create_task(close_idle(rig.open, 60))
    await rig.clock.advance(50, step_s=1)
    rig.say("heartbeat")
    await rig.clock.advance(50, step_s=1)
    assert rig.receive() == []
    await rig.clock.advance(20, step_s=1)
    assert rig.farewell == (1012, "nothing heard for 60 s")
    closing.cancel()


async def test_without_an_idle_limit_nobody_is_looked_at():
    async with asyncio.timeout(5):
        await close_idle(set(), 0)


# A handshake that waits for a decision

ADMITTED = Admission(serializer_for("2.0.0"), None)


@pytest.fixture
async def waiting(clock: Clock) -> Rig:
    made = Rig(clock)
    made.desk.later = asyncio.get_running_loop().create_future()
    made.shake_hands()
    await clock.settle()
    assert made.events == []
    return made


async def test_a_handshake_may_wait_for_its_decision(waiting: Rig):
    assert waiting.desk.later is not None
    waiting.desk.later.set_result(ADMITTED)
    await waiting.clock.settle()
    (response,) = waiting.receive()
    assert response.status_code == 101
    waiting.say("hello")
    assert waiting.desk.heard == ["hello"]


@pytest.mark.parametrize("is_full", [False, True])
async def test_a_handshake_that_waited_may_be_refused(waiting: Rig, *, is_full: bool):
    assert waiting.desk.later is not None
    if is_full:
        waiting.desk.refusal = Refusal(429, "Too many connected users")
    waiting.desk.later.set_result(ADMITTED if is_full else Refusal(401, "Failed to validate JWT signature"))
    await waiting.clock.settle()
    (response,) = waiting.receive()
    assert response.status_code == (429 if is_full else 401)
    assert waiting.transport.is_ended


async def test_a_client_that_goes_while_it_waits_is_forgotten(waiting: Rig):
    assert waiting.desk.later is not None
    waiting.connection.connection_lost(None)
    await waiting.clock.settle()
    assert waiting.desk.later.cancelled()
    assert waiting.desk.departures == 0


async def test_a_client_that_is_sent_away_while_it_waits_is_not_admitted(waiting: Rig):
    assert waiting.desk.later is not None
    waiting.connection.shutdown()
    await waiting.clock.settle()
    assert waiting.transport.is_ended
    assert waiting.desk.later.cancelled()


async def test_what_a_client_says_before_it_is_admitted_is_not_heard(waiting: Rig):
    assert waiting.desk.later is not None
    waiting.connection.data_received(b"\x81\x82\x00\x00\x00\x00hi")
    waiting.desk.later.set_result(ADMITTED)
    await waiting.clock.settle()
    assert waiting.desk.heard == []
    assert waiting.receive()[0].status_code == 101
