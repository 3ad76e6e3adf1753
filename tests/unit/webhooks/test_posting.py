"""One attempt, against endpoints that answer in every way but the right one."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import pytest

from pgcast.webhooks.addresses import parse_rules
from pgcast.webhooks.posting import Delivered, Failed, Poster

TIMEOUT_S = 0.3  # of those that are to be late
LONG_S = 20.0

HEADERS = MappingProxyType({"X-Key": "secret"})

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(len(b"{}"))


def answering(answer: bytes, *, then_s: float = 0.0) -> Handler:
    """An endpoint that answers each request with these bytes, and closes the connection after a while."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()
        await asyncio.sleep(then_s)

    return handle


async def post_to(
    handler: Handler, *, attempts: int = 1, headers: Mapping[str, str] = HEADERS, timeout_s: float = LONG_S
) -> tuple[int, list[Delivered | Failed]]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    url = f"http://127.0.0.1:{port}/secret-path?token=secret"
    poster = Poster(url, headers, [], parse_rules(["127.0.0.1"]), ssl.create_default_context(), timeout_s)
    try:
        return port, [await poster.post("msg_1", b"{}") for _ in range(attempts)]
    finally:
        await poster.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000,
        b"HTTP/1.0 201 Created\r\n\r\n",
    ],
    ids=["no body", "100 first", "body cut off", "body malformed", "body large", "HTTP/1.0"],
)
async def test_a_2xx_is_a_success_whatever_becomes_of_the_body(answer: bytes):
    assert (await post_to(answering(answer), attempts=2))[1] == [Delivered(), Delivered()]


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, Delivered()), (500, Failed("answered 500 Internal Server Error"))]
)
async def test_a_body_that_never_ends_changes_nothing_about_the_status(status: int, outcome: Delivered | Failed):
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 %d x\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    assert (await post_to(drip, attempts=2, timeout_s=1.0))[1] == [outcome, outcome]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2 secret\r\n\r\n",
        b"HTTP/2 200 secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nsecret without a colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"secret" * 50_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 000 x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nsecret",
    ],
    ids=["SSH", "HTTP/2", "a header", "a huge header", "two lengths", "status 0", "101"],
)
async def test_what_is_not_http_is_said_without_what_it_was(answer: bytes):
    port, outcomes = await post_to(answering(answer, then_s=0.05), attempts=2)
    assert outcomes == [Failed(f"what 127.0.0.1 port {port} answered is not HTTP/1.1")] * 2


async def test_an_endpoint_that_sends_the_request_back_does_not_bring_its_secrets_into_the_log():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while received := await reader.read(1000):
            writer.write(received)
            await writer.drain()

    port, outcomes = await post_to(echo)
    assert outcomes == [Failed(f"what 127.0.0.1 port {port} answered is not HTTP/1.1")]


async def test_an_endpoint_that_says_nothing_or_goes_is_tried_again():
    async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * TIMEOUT_S)

    assert (await post_to(hang, attempts=2, timeout_s=TIMEOUT_S))[1] == [Failed(f"no answer within {TIMEOUT_S} s")] * 2
    port, outcomes = await post_to(answering(b""))
    assert outcomes == [Failed(f"the connection to 127.0.0.1 port {port} broke before the answer")]


@pytest.mark.parametrize(("headers", "agent"), [({}, "pgcast/"), ({"user-agent": "Mine"}, "Mine")])
async def test_who_posts_is_said_once(headers: dict[str, str], agent: str):
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    await post_to(note, headers=headers)
    (line,) = [line for line in asked[0].decode().splitlines() if line.lower().startswith("user-agent:")]
    assert line.partition(": ")[2].startswith(agent)
