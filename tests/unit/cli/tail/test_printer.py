from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from pgcast.cli.tail.printer import Printer


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


async def read(reader: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += await asyncio.to_thread(os.read, reader, 1 << 16)
    return got


async def test_what_is_written_arrives_whole_even_if_the_pipe_is_small(pipe: tuple[int, int]):
    reader, writer = pipe
    printer = Printer(writer)
    content = b"0123456789" * 100_000
    writing = asyncio.create_task(printer.write(content))
    assert await read(reader, len(content)) == content
    await writing
    printer.close()


async def test_a_pipe_whose_reader_has_gone_is_told():
    reader, writer = os.pipe()
    os.close(reader)
    printer = Printer(writer)
    with pytest.raises(BrokenPipeError):
        await printer.write(b"x")
    printer.close()
    os.close(writer)


async def test_a_reader_that_pauses_does_not_hold_up_the_loop(pipe: tuple[int, int]):
    reader, writer = pipe
    printer = Printer(writer)
    writing = asyncio.create_task(printer.write(b"x" * 1_000_000))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(writing, 0.05)
    # Given up by the loop, the thread goes on when the reader does.
    assert len(await read(reader, 1_000_000)) == 1_000_000
    printer.close()
