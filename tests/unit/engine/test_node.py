from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pgoutput
import pytest
from memory_outlet import MemoryOutlet
from memory_source import MemoryCatalog, MemorySource, database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.hub import HubLimits
from pgcast.engine.node import Node, NodeLimits, _for_ever
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import NotPrepared, SlotBusy, SlotLost
from pgcast.model.lsn import Lsn

JOIN = (
    '["1","1","realtime:t","phx_join",{"config":{"postgres_changes":'
    '[{"event":"*","schema":"public","table":"todos"}]}}]'
)


def make_node(source: MemorySource, catalog: MemoryCatalog, *, max_clients: int = 2) -> Node:
    return Node(
        database(source, catalog),
        Payloads(),
        NodeLimits(hub=HubLimits(flush_gap_s=0), max_clients=max_clients),
        Backoff(1, 1),
    )


@pytest.fixture
async def source() -> MemorySource:
    return MemorySource()


@pytest.fixture
async def node(source: MemorySource, clock: Clock) -> AsyncIterator[Node]:
    made = make_node(source, MemoryCatalog())
    await made.start()
    yield made
    await made.stop()


async def test_a_slot_that_a_dying_predecessor_holds_is_waited_for(source: MemorySource, clock: Clock):
    source.refusals = [SlotBusy("held") for _ in range(4)]
    node = make_node(source, MemoryCatalog())
    starting = asyncio.create_task(node.start())
    await clock.advance(0.6)
    assert not starting.done()
    await clock.advance(1)
    await starting
    assert node.pipeline.health.is_ready(clock.now_s)
    await node.stop()


async def test_a_slot_that_stays_busy_is_given_up_after_ten_seconds(source: MemorySource, clock: Clock):
    source.refusals = [SlotBusy("held") for _ in range(1000)]
    node = make_node(source, MemoryCatalog())
    starting = asyncio.create_task(node.start())
    await clock.advance(9.9)
    assert not starting.done()
    await clock.advance(0.5)
    with pytest.raises(SlotBusy):
        await starting
    await node.stop()


async def test_a_database_that_is_not_prepared_is_told_at_once(source: MemorySource):
    source.refusals = [NotPrepared("wal_level is replica")]
    node = make_node(source, MemoryCatalog())
    with pytest.raises(NotPrepared, match="wal_level is replica"):
        await node.start()
    await node.stop()


async def test_a_connected_client_gets_changes(node: Node, source: MemorySource, clock: Clock):
    outlet = MemoryOutlet()
    client = node.connect(serializer_for("2.0.0"), outlet)
    client.receive_text(JOIN)
    await clock.settle()
    source.send(*pgoutput.transaction(100, 1))
    await clock.settle()
    assert [message[3] for message in outlet.messages] == ["phx_reply", "presence_state", "system", "postgres_changes"]


async def test_without_a_limit_the_node_is_never_full():
    node = make_node(MemorySource(), MemoryCatalog(), max_clients=0)
    for _ in range(3):
        node.connect(serializer_for("2.0.0"), MemoryOutlet())
    assert not node.is_full
    await node.stop()


async def test_the_node_is_full_at_its_limit_until_somebody_goes(node: Node):
    clients = [node.connect(serializer_for("2.0.0"), MemoryOutlet()) for _ in range(2)]
    assert node.is_full
    clients[0].gone()
    assert not node.is_full
    clients[0].gone()
    assert len(node.clients) == 1


async def test_draining_sends_everybody_away_such_that_they_come_back(node: Node):
    outlets = [MemoryOutlet() for _ in range(2)]
    for outlet in outlets:
        node.connect(serializer_for("2.0.0"), outlet)
    node.drain()
    assert node.is_draining
    assert [outlet.closed for outlet in outlets] == [(1012, "Server requested disconnect")] * 2


async def test_a_lost_slot_is_told_to_every_channel_that_gets_changes(node: Node, source: MemorySource, clock: Clock):
    outlet = MemoryOutlet()
    client = node.connect(serializer_for("2.0.0"), outlet)
    client.receive_text(JOIN)
    await clock.settle()
    source.next_start = {**source.next_start, "slot_created": True, "confirmed_lsn": Lsn(900)}
    source.break_off(NotPrepared("the slot is gone"))
    await clock.advance(1.1)
    payload = outlet.messages[-1][4]
    assert payload["code"] == "GapDetected"
    assert payload["oldest"] == f"{node.pipeline.epoch}-{900:016x}-00000000"


class BrokenOutlet(MemoryOutlet):
    """Takes a reply and a state, and nothing after them."""

    def write(self, content: bytes) -> None:
        super().write(content)
        if len(self.writes) > 3:
            raise RuntimeError("cannot be written to")


async def test_a_client_that_fails_keeps_nothing_from_the_others(
    node: Node, source: MemorySource, clock: Clock, capsys: pytest.CaptureFixture[str]
):
    outlets = [BrokenOutlet(), MemoryOutlet()]
    for outlet in outlets:
        node.connect(serializer_for("2.0.0"), outlet).receive_text(JOIN)
    await clock.settle()
    source.next_start = {**source.next_start, "slot_created": True}
    source.break_off(SlotLost("gone"))
    await clock.advance(1.2)
    assert outlets[1].messages[-1][4]["code"] == "GapDetected"
    assert outlets[1].closed is None
    assert outlets[0].closed is not None
    assert outlets[0].closed[0] == 1011
    assert "a client failed" in capsys.readouterr().out


async def test_stopping_ends_the_stream_and_the_questions(source: MemorySource, clock: Clock):
    catalog = MemoryCatalog()
    node = make_node(source, catalog)
    await node.start()
    await node.stop()
    await node.stop()
    assert not source.is_open
    assert catalog.is_closed


async def test_an_invalidated_slot_is_made_anew_at_the_start(source: MemorySource, clock: Clock):
    source.refusals = [SlotLost("invalidated")]
    node = make_node(source, MemoryCatalog())
    await node.start()
    assert source.dropped == 1
    assert node.pipeline.health.is_ready(clock.now_s)
    await node.stop()


async def test_a_task_that_fails_is_said_and_started_again(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("pgcast.engine.node._AGAIN_S", 0)
    runs = []
    again = asyncio.Event()

    async def fail_once() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("once")
        again.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(_for_ever("tests", fail_once))
    async with asyncio.timeout(5):
        await again.wait()
    task.cancel()
    assert "a task of the node failed" in capsys.readouterr().out
