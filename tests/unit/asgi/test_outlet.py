"""An outlet on `websocket.send`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pgcast.asgi.outlet import AsgiOutlet, messages_in
from pgcast.frames.websocket import binary_frame, ping_frame, text_frame
from pgcast.sockets.options import SocketOptions

OPTIONS = SocketOptions(high_bytes=100, low_bytes=40, close_s=0.05)


class Client:
    """An ASGI server with one client, which takes messages while it may."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.may_take = asyncio.Event()
        self.may_take.set()

    async def send(self, message: dict[str, Any]) -> None:
        await self.may_take.wait()
        self.got.append(message)


def text(content: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": content}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_become_messages(length: int):
    frames = text_frame(b"x" * length) + binary_frame(b"y" * length) + ping_frame(b"1")
    assert messages_in(frames) == ([text("x" * length), {"type": "websocket.send", "bytes": b"y" * length}], b"")


def test_a_frame_in_pieces_waits_for_its_rest():
    frame = text_frame("größer".encode() * 100)
    for cut in (0, 1, 3, len(frame) - 1):
        messages, rest = messages_in(text_frame(b"a") + frame[:cut])
        assert messages == [text("a")]
        assert messages_in(rest + frame[cut:]) == ([text("größer" * 100)], b"")


async def test_what_is_written_is_sent_in_order():
    client, outlet = Client(), AsgiOutlet(OPTIONS)
    sending = outlet.start(client.send)
    outlet.write(text_frame(b"one") + text_frame(b"two"))
    await settle()
    frame = text_frame(b"x" * 200)
    outlet.write(frame[:50])
    outlet.write(frame[50:])
    await settle()
    assert client.got == [text("one"), text("two"), text("x" * 200)]
    assert (outlet.writes, outlet.buffered_bytes()) == (3, 0)
    sending.cancel()


async def test_a_slow_client_is_paused_and_resumed():
    client, outlet = Client(), AsgiOutlet(OPTIONS)
    resumed: list[int] = []
    outlet.when_resumed = lambda: resumed.append(outlet.buffered_bytes())
    sending = outlet.start(client.send)
    client.may_take.clear()
    for _ in range(5):
        outlet.write(text_frame(b"x" * 25))
    await settle()
    assert outlet.is_paused
    assert outlet.buffered_bytes() > 100
    client.may_take.set()
    await settle()
    assert not outlet.is_paused
    assert len(resumed) == 1
    assert resumed[0] <= 40
    assert len(client.got) == 5
    sending.cancel()


async def test_closing_sends_what_waits_and_then_the_code():
    client, outlet = Client(), AsgiOutlet(OPTIONS)
    outlet.write(text_frame(b"last"))
    outlet.close(1013, "too slow")
    outlet.close(1000, "once more")
    outlet.write(text_frame(b"too late"))
    async with asyncio.timeout(1):
        await outlet.start(client.send)
    assert client.got == [text("last"), {"type": "websocket.close", "code": 1013, "reason": "too slow"}]


async def test_a_client_that_takes_nothing_is_not_waited_for():
    client, outlet = Client(), AsgiOutlet(OPTIONS)
    sending = outlet.start(client.send)
    client.may_take.clear()
    outlet.write(text_frame(b"x"))
    await settle()
    outlet.close(1013, "too slow")
    async with asyncio.timeout(1):
        await asyncio.wait({sending})
    assert sending.cancelled()
