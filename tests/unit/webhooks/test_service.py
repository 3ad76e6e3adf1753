"""Endpoints that come, change and go in the middle of a transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from making import change, table, transaction
from memory_source import MemoryCatalog, database

from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.model.change import Kind
from pgcast.model.webhook import Webhook
from pgcast.webhooks.addresses import parse_rules
from pgcast.webhooks.folder import spool_files
from pgcast.webhooks.plans import WebhookOptions
from pgcast.webhooks.service import Webhooks
from pgcast.webhooks.spool import Spool

TODOS = table()


def webhook(**more: Any) -> Webhook:
    given = {"kind": None, "schema": None, "table": None, "filter": None, "endpoint": "http://127.0.0.1:1/", **more}
    return Webhook("webhooks[0]", **given)


class Rig:
    """Webhooks of a hub, and one transaction that is being received."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = Hub(Payloads(), HubLimits())
        catalog = MemoryCatalog()
        pipeline = Pipeline(database(None, catalog), self.hub, Backoff(1, 1), lambda: None)
        options = WebhookOptions(folder, rules=parse_rules(["127.0.0.1"]))
        self.webhooks = Webhooks(options, self.hub, catalog, Payloads(), pipeline)
        self.transaction = transaction(100)
        self.indices = 0

    def receive(self, kind: Kind = Kind.INSERT) -> None:
        self.hub.sinks.take(change(self.transaction, self.indices, on=TODOS, kind=kind))
        self.indices += 1

    def spooled(self) -> list[list[str]]:
        """The kinds of the changes of each delivery; after the end."""
        (path,) = spool_files(self.folder)
        spool = Spool(path, 1 << 20)
        bodies = []
        while (head := spool.head()) is not None:
            bodies.append([one["type"] for one in json.loads(head.draft.body)["changes"]])
            spool.settle(head.number)
        spool.close()
        return bodies


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path / "webhooks")
    yield made
    await made.webhooks.stop()


async def test_another_filter_in_the_middle_of_a_transaction_ends_a_delivery(rig: Rig):
    await rig.webhooks.configure([webhook(name="mine")])
    rig.receive()
    await rig.webhooks.configure([webhook(name="mine", kind=Kind.DELETE)])
    rig.receive()
    rig.hub.sinks.commit()
    (endpoint,) = rig.webhooks.endpoints.values()
    async with asyncio.timeout(5):
        while endpoint.intake.unsafe_from is not None:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.005)
    await rig.webhooks.stop()
    assert rig.spooled() == [["INSERT"]]


async def test_what_was_received_of_a_transaction_is_stored_when_its_endpoint_is_taken_out(rig: Rig):
    await rig.webhooks.configure([webhook(name="mine")])
    rig.receive()
    rig.receive(Kind.DELETE)
    await rig.webhooks.configure([])
    rig.receive()
    rig.hub.sinks.commit()
    assert rig.spooled() == [["INSERT", "DELETE"]]


async def test_what_is_in_force_twice_is_in_force_once(rig: Rig):
    for _ in range(3):
        await rig.webhooks.configure([webhook(name="mine"), webhook(name="mine", kind=Kind.INSERT)])
    rig.receive()
    rig.hub.sinks.commit()
    await rig.webhooks.stop()
    await rig.webhooks.stop()
    assert rig.spooled() == [["INSERT"]]
