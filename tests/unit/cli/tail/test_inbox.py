from __future__ import annotations

import asyncio

import pytest

from pgcast.cli.tail.inbox import Inbox, payloads_of
from pgcast.frames.websocket import text_frame
from pgcast.model.errors import StreamEnded


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_frames_of_every_length_come_apart_again(size: int):
    texts = [b"x" * size, b"second", b"y" * size]
    assert list(payloads_of(b"".join(map(text_frame, texts)))) == texts


async def test_messages_are_read_in_order_and_all_at_once():
    inbox = Inbox()
    inbox.write(text_frame(b"1") + text_frame(b"2"))
    inbox.write(text_frame(b"3"))
    assert await inbox.read() == [b"1", b"2", b"3"]
    assert inbox.buffered_bytes() == 0


async def test_a_reader_that_waits_gets_what_comes():
    inbox = Inbox()
    reading = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.write(text_frame(b"late"))
    assert await reading == [b"late"]


async def test_it_is_slow_while_much_is_unread_and_says_when_it_is_not():
    resumed = []
    inbox = Inbox(high_bytes=100)
    inbox.when_resumed = lambda: resumed.append(inbox.is_paused)
    inbox.write(text_frame(b"x" * 50))
    assert not inbox.is_paused
    inbox.write(text_frame(b"x" * 50))
    assert inbox.is_paused
    await inbox.read()
    assert resumed == [False]


async def test_what_was_written_before_the_end_can_still_be_read():
    inbox = Inbox()
    inbox.write(text_frame(b"last"))
    inbox.close(1013, "too slow")
    inbox.write(text_frame(b"dropped"))
    assert await inbox.read() == [b"last"]
    with pytest.raises(StreamEnded, match=r"too slow \(1013\)"):
        await inbox.read()


async def test_the_end_wakes_a_reader():
    inbox = Inbox()
    reading = asyncio.create_task(inbox.read())
    await asyncio.sleep(0)
    inbox.close(1012, "gone")
    inbox.close(1013, "twice is safe")
    with pytest.raises(StreamEnded, match="gone"):
        await reading
