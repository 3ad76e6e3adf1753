"""The metrics of a node on a database in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pgoutput
import pytest
from memory_outlet import MemoryOutlet
from memory_source import MemoryObserver, MemorySource, database, observation
from prometheus_client import generate_latest

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.metrics import registry_of
from pgcast.engine.node import Node, NodeLimits
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import ConnectionFailed


@pytest.fixture
async def source() -> MemorySource:
    return MemorySource()


@pytest.fixture
async def node(source: MemorySource, clock: Clock) -> AsyncIterator[Node]:
    del clock
    seen = observation(lag_bytes=1000, retained_bytes=2000, wal_status="extended")
    made = Node(database(source, observer=MemoryObserver(seen)), Payloads(), NodeLimits(), Backoff(1, 1))
    await made.start()
    yield made
    await made.stop()


def values(node: Node) -> dict[str, float]:
    lines = generate_latest(registry_of(node)).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def test_what_flows_is_counted(node: Node, source: MemorySource, clock: Clock):
    node.connect(serializer_for("2.0.0"), MemoryOutlet())
    source.send(*pgoutput.transaction(100, 1, 2))
    await clock.settle()
    found = values(node)
    assert found["pgcast_changes_total"] == 2
    assert found["pgcast_transactions_total"] == 1
    assert found["pgcast_connections"] == 1
    assert found["pgcast_window_changes"] == 2
    assert found["pgcast_ready"] == 1


async def test_the_slot_is_what_the_watch_saw(node: Node, clock: Clock):
    await clock.settle()
    found = values(node)
    assert (found["pgcast_slot_lag_bytes"], found["pgcast_slot_retained_bytes"]) == (1000, 2000)
    assert found['pgcast_slot_wal_status{status="extended"}'] == 1
    assert found['pgcast_slot_wal_status{status="lost"}'] == 0


async def test_a_slot_that_cannot_be_seen_has_no_figures(node: Node, clock: Clock):
    await clock.settle()
    node.watch.seen = None
    assert "pgcast_slot_lag_bytes" not in values(node)


async def test_a_broken_stream_is_not_ready_and_counted(node: Node, source: MemorySource, clock: Clock):
    source.refusals = [ConnectionFailed("away")] * 100
    source.break_off(ConnectionFailed("cut"))
    await clock.settle()
    found = values(node)
    assert (found["pgcast_ready"], found["pgcast_reconnects_total"]) == (0, 1)


async def test_the_age_of_the_last_confirmation_grows(node: Node, source: MemorySource, clock: Clock):
    await clock.settle()
    before = values(node)["pgcast_confirmed_age_seconds"]
    await clock.advance(30)
    assert values(node)["pgcast_confirmed_age_seconds"] >= before + 29
    source.send(pgoutput.keepalive(5000))
    await clock.advance(2)
    assert values(node)["pgcast_confirmed_age_seconds"] < 3
    assert values(node)["pgcast_confirmed_lsn"] == 5000


async def test_rooms_and_limits_are_counted(node: Node, clock: Clock):
    client = node.connect(serializer_for("2.0.0"), MemoryOutlet())
    client.receive_text('["1","1","realtime:t","phx_join",{"config":{"broadcast":{"self":true}}}]')
    client.receive_text('["1","2","realtime:t","presence",{"event":"track"}]')
    client.receive_text('["1","3","realtime:t","broadcast",{"event":"hi"}]')
    client.receive_text('["1","4","realtime:t","broadcast",{"event":"%s"}]' % ("x" * 3_000_500))
    client.receive_text('["1","5","realtime:t","nonsense",{}]')
    await clock.advance(0.01)
    found = values(node)
    assert found["pgcast_rooms"] == found["pgcast_room_members"] == found["pgcast_presences"] == 1
    assert found["pgcast_broadcasts_total"] == found["pgcast_presence_diffs_total"] == 1
    assert found["pgcast_room_writes_total"] == 1
    assert found["pgcast_room_cut_off_total"] == 0
    assert found['pgcast_limited_total{limit="payload"}'] == 1
    assert found['pgcast_limited_total{limit="messages"}'] == 0
    assert found['pgcast_dropped_messages_total{reason="unexpected"}'] == 1
    assert found['pgcast_dropped_messages_total{reason="malformed"}'] == 0
