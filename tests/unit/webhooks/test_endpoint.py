"""One endpoint's tasks: what ends them, and what does not."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from making import change, transaction

from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.webhooks import endpoint as module
from pgcast.webhooks.addresses import parse_rules
from pgcast.webhooks.endpoint import Endpoint
from pgcast.webhooks.folder import make_folder
from pgcast.webhooks.plans import Plan, WebhookOptions

KEY = bytes(range(32))


class Answering:
    """An endpoint that answers each request with 204, after a while."""

    def __init__(self) -> None:
        self.requests = 0
        self.after_s = 0.0
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
                self.requests += 1
                await asyncio.sleep(self.after_s)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        writer.close()


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    one = Answering()
    server = await asyncio.start_server(one, "127.0.0.1", 0)
    one.port = int(server.sockets[0].getsockname()[1])
    yield one
    server.close()


@contextlib.asynccontextmanager
async def running(port: int, folder: Path, **more: Any) -> AsyncIterator[Endpoint]:
    make_folder(folder)
    options = WebhookOptions(folder, rules=parse_rules(["127.0.0.1"]))
    plan = Plan("0123456789abcdef", "mine", f"http://127.0.0.1:{port}/", **{"keys": (KEY,), **more}, entries=ENTRIES)
    made = Endpoint(plan, options, ssl.create_default_context(), lambda _change: b"{}", lambda: 0)
    await made.open()
    made.start()
    try:
        yield made
    finally:
        await made.stop()


ENTRIES = (Entry(1, ROW_KINDS),)


def take(endpoint: Endpoint, commit_lsn: int) -> None:
    endpoint.intake.take(change(transaction(commit_lsn)), (1,))
    endpoint.intake.commit()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - a tally and a log are nobody's events
            await asyncio.sleep(0.005)


async def test_a_fault_of_ours_is_said_and_is_not_the_end_of_deliveries(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    with structlog.testing.capture_logs() as said:
        async with running(answering.port, tmp_path / "webhooks", keys=("no bytes",)) as endpoint:
            take(endpoint, 100)
            await until(lambda: sum(line["event"].startswith("the work on a webhook failed") for line in said) > 1)
            await endpoint.change(replace(endpoint.plan, keys=(KEY,)))
            await until(lambda: endpoint.tally.delivered == 1)
    assert answering.requests == 1


async def test_a_reload_that_changes_nothing_for_an_endpoint_leaves_its_attempt_alone(
    answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_GRACE_S", 0.05)
    answering.after_s = 0.3
    async with running(answering.port, tmp_path / "webhooks") as endpoint:
        take(endpoint, 100)
        await until(lambda: answering.requests > 0)
        for _ in range(3):
            await endpoint.change(replace(endpoint.plan))
        await until(lambda: endpoint.tally.delivered == 1)
    assert answering.requests == 1
