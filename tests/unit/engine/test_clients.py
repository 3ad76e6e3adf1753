"""One client against a node in memory: joins are checked, answered, served and ended, whatever the database does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pgoutput
import pytest
from memory_outlet import MemoryOutlet
from memory_source import MemoryCatalog, MemorySource, database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.acknowledged import Identity
from pgcast.engine.backoff import Backoff
from pgcast.engine.clients import JOIN_S, LIMITED_BYTES, UNREAD, UNREAD_S, Client
from pgcast.engine.hub import HubLimits
from pgcast.engine.node import Node, NodeLimits
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import ConnectionFailed
from pgcast.model.lsn import Lsn
from pgcast.model.snapshot import Snapshot

TODOS = {"event": "*", "schema": "public", "table": "todos"}


@dataclass
class Rig:
    clock: Clock
    source: MemorySource
    catalog: MemoryCatalog
    node: Node
    client: Client
    outlet: MemoryOutlet

    def push(self, event: str, payload: object, *, topic: str = "realtime:t", ref: str = "1") -> None:
        self.client.receive_text(json.dumps(["1", ref, topic, event, payload]))

    async def join(self, *bindings: dict[str, Any], **config: Any) -> None:
        self.push("phx_join", {"config": {"postgres_changes": list(bindings), **config}})
        await self.clock.settle()

    async def commit(self, commit_lsn: int, *row_ids: int) -> None:
        self.source.send(*pgoutput.transaction(commit_lsn, *row_ids))
        await self.clock.settle()

    @property
    def events(self) -> list[str]:
        return [message[3] for message in self.outlet.messages]

    @property
    def last(self) -> Any:
        return self.outlet.messages[-1][4]

    @property
    def rows(self) -> list[int]:
        return [
            message[4]["data"]["record"]["id"] for message in self.outlet.messages if message[3] == "postgres_changes"
        ]


@pytest.fixture
async def rig(clock: Clock) -> AsyncIterator[Rig]:
    source, catalog = MemorySource(), MemoryCatalog()
    node = Node(
        database(source, catalog),
        Payloads(),
        NodeLimits(hub=HubLimits(flush_gap_s=0), max_clients=10),
        Backoff(1, 1),
    )
    await node.start()
    outlet = MemoryOutlet()
    client = node.connect(serializer_for("2.0.0"), outlet)
    yield Rig(clock, source, catalog, node, client, outlet)
    client.gone()
    await node.stop()


async def test_a_join_is_answered_and_served(rig: Rig):
    await rig.join(TODOS)
    await rig.commit(100, 1)
    assert rig.events == ["phx_reply", "presence_state", "system", "postgres_changes"]
    assert rig.rows == [1]


async def test_a_join_without_bindings_does_not_ask_the_database(rig: Rig):
    rig.catalog.failure = ConnectionFailed("the database is away")
    await rig.join()
    assert rig.events == ["phx_reply", "presence_state"]


async def test_what_the_snapshot_sees_is_before_the_join(rig: Rig):
    await rig.commit(100, 1)
    await rig.commit(200, 2)
    rig.catalog.seen = Snapshot(150, 150, frozenset(), Lsn(150))  # xids are the commit LSNs here
    await rig.join(TODOS)
    assert rig.rows == [2]


async def test_a_join_resumes_after_a_position(rig: Rig):
    await rig.commit(100, 1, 2, 3)
    rig.catalog.seen = Snapshot(150, 150, frozenset(), Lsn(150))
    await rig.join({**TODOS, "since": f"{rig.node.pipeline.epoch}-{100:016x}-{0:08x}"})
    assert rig.rows == [2, 3]
    await rig.commit(200, 4)
    assert rig.rows == [2, 3, 4]


async def test_a_position_that_is_no_longer_held_is_a_gap_that_is_told(rig: Rig):
    await rig.join({**TODOS, "since": f"{rig.node.pipeline.epoch}-{10:016x}-{0:08x}"})
    assert rig.last["code"] == "GapDetected"
    assert rig.last["status"] == "ok"
    await rig.commit(200, 4)
    assert rig.rows == [4]


async def test_an_unknown_table_is_an_error_of_the_binding_and_the_channel_stays(rig: Rig):
    await rig.join({**TODOS, "table": "nope"})
    assert rig.events == ["phx_reply", "presence_state", "system"]
    assert rig.last["status"] == "error"
    assert rig.last["message"].startswith("Unable to subscribe to changes with given parameters.")
    await rig.commit(100, 1)
    assert rig.rows == []


async def test_a_join_that_the_database_does_not_answer_is_accepted_and_served_later_from_its_beginning(rig: Rig):
    rig.catalog.failure = ConnectionFailed("the database is away")
    await rig.join(TODOS)
    assert rig.events == ["phx_reply", "presence_state"]
    await rig.commit(100, 1)
    assert rig.rows == []
    rig.catalog.failure = None
    await rig.clock.advance(2.1)
    assert rig.events == ["phx_reply", "presence_state", "system", "postgres_changes"]
    assert rig.rows == [1]


async def test_a_silent_database_delays_a_join_by_no_more_than_its_deadline(rig: Rig):
    rig.catalog.is_silent = True
    await rig.join(TODOS)
    await rig.clock.advance(JOIN_S - 0.1)
    assert rig.events == []
    await rig.clock.advance(0.2)
    assert rig.events == ["phx_reply", "presence_state"]


async def test_a_join_that_is_answered_late_may_turn_out_to_be_wrong(rig: Rig):
    rig.catalog.failure = ConnectionFailed("the database is away")
    await rig.join({**TODOS, "table": "nope"})
    rig.catalog.failure = None
    await rig.clock.advance(2.1)
    assert rig.last["status"] == "error"
    await rig.clock.advance(10)
    assert rig.events == ["phx_reply", "presence_state", "system"], "told once"


async def test_leaving_while_a_join_waits_for_the_database_ends_it(rig: Rig):
    rig.catalog.failure = ConnectionFailed("the database is away")
    await rig.join(TODOS)
    rig.push("phx_leave", {}, ref="2")
    rig.catalog.failure = None
    await rig.clock.advance(5)
    await rig.commit(100, 1)
    assert rig.events == ["phx_reply", "presence_state", "phx_reply", "phx_close"]
    assert rig.node.hub.member_count == 0


async def test_a_channel_that_was_left_gets_nothing_more(rig: Rig):
    await rig.join(TODOS)
    rig.push("phx_leave", {}, ref="2")
    await rig.commit(100, 1)
    assert rig.rows == []
    assert rig.node.hub.group_count == 0


async def test_a_connection_that_is_gone_leaves_nothing_behind(rig: Rig):
    await rig.join(TODOS)
    rig.client.gone()
    rig.client.gone()
    await rig.commit(100, 1)
    assert rig.node.hub.member_count == 0
    assert rig.node.clients == {}


async def test_the_oldest_protocol_takes_its_binding_from_the_topic(rig: Rig):
    rig.push("phx_join", {}, topic="realtime:public:todos:id=eq.2")
    await rig.clock.settle()
    await rig.commit(100, 1, 2)
    assert rig.events == ["phx_reply", "INSERT"]
    assert rig.last["record"]["id"] == 2


async def test_a_message_that_cannot_be_read_is_logged_and_the_connection_stays(
    rig: Rig, capsys: pytest.CaptureFixture[str]
):
    rig.client.receive_text("not JSON, and a secret")
    await rig.clock.advance(1)
    rig.client.receive_binary(b"\xff")
    printed = capsys.readouterr().out
    assert printed.count("message dropped") == 2
    assert rig.node.dropped.malformed == 2
    assert "a secret" not in printed
    assert rig.outlet.closed is None


async def test_a_fault_of_ours_refuses_the_join_and_leaves_the_connection(rig: Rig, capsys: pytest.CaptureFixture[str]):
    rig.catalog.failure = RuntimeError("a bug")
    await rig.join(TODOS)
    assert rig.last["response"]["reason"] == "UnknownErrorOnChannel: the channel broke, join again"
    assert "a join failed" in capsys.readouterr().out
    rig.push("heartbeat", {}, topic="phoenix")
    assert rig.events == ["phx_reply", "phx_reply"]


async def test_a_fault_of_ours_after_the_reply_makes_the_client_join_again(
    rig: Rig, capsys: pytest.CaptureFixture[str]
):
    rig.catalog.failure = ConnectionFailed("the database is away")
    await rig.join(TODOS)
    rig.catalog.failure = RuntimeError("a bug")
    await rig.clock.advance(2.1)
    assert rig.events == ["phx_reply", "presence_state", "phx_error"]
    assert "a join failed" in capsys.readouterr().out


async def test_a_join_that_waits_for_its_bindings_is_refused_when_they_cannot_be_served_in_time(rig: Rig):
    rig.catalog.is_silent = True
    rig.push(
        "phx_join", {"config": {"postgres_changes": [TODOS], "postgres_changes_options": {"wait": True, "timeout": 1}}}
    )
    await rig.clock.advance(20)
    assert rig.last["status"] == "error"
    assert rig.last["response"]["reason"].startswith("PostgresChangesSubscribeTimeout: Timed out after ")


async def test_a_broadcast_reaches_the_others_on_its_topic_and_itself_only_if_that_was_asked_for(rig: Rig):
    other = MemoryOutlet()
    second = rig.node.connect(serializer_for("2.0.0"), other)
    second.receive_text(
        json.dumps(["1", "1", "realtime:t", "phx_join", {"config": {"broadcast": {"self": True, "ack": True}}}])
    )
    await rig.join()
    rig.push("broadcast", {"event": "hi"})
    second.receive_text(json.dumps(["1", "2", "realtime:t", "broadcast", {"event": "back"}]))
    await rig.clock.advance(0.01)
    assert rig.outlet.messages[2:] == [[None, None, "realtime:t", "broadcast", {"event": "back"}]]
    assert [message[3] for message in other.messages] == [
        *("phx_reply", "presence_state", "phx_reply", "broadcast", "broadcast")
    ]
    second.gone()
    assert rig.node.rooms.member_count == 1


async def test_a_private_channel_is_refused_while_nobody_can_decide_on_it(rig: Rig):
    await rig.join(private=True)
    assert rig.last["response"] == {"reason": "DatabaseNotPrepared: Private channels are not available here"}


async def test_all_who_watch_are_told_who_is_there_the_one_itself_included(rig: Rig):
    other = MemoryOutlet()
    second = rig.node.connect(serializer_for("1.0.0"), other)
    await rig.join(presence={"key": "ada"})
    rig.push("presence", {"event": "track", "payload": {"n": 1}})
    await rig.clock.advance(0.01)
    second.receive_text(json.dumps({"topic": "realtime:t", "event": "phx_join", "payload": {"config": {}}, "ref": "1"}))
    second.receive_text(
        json.dumps({"topic": "realtime:t", "event": "presence", "payload": {"event": "track"}, "ref": "2"})
    )
    await rig.clock.advance(0.01)
    assert rig.events == ["phx_reply", "presence_state", "phx_reply", "presence_diff", "presence_diff"]
    assert [message["event"] for message in other.messages] == [
        *("phx_reply", "presence_state", "phx_reply", "presence_diff")
    ]
    (meta,) = other.messages[1]["payload"]["ada"]["metas"]
    assert meta["n"] == 1
    assert len(next(iter(rig.last["joins"]))) == len("7d1e0c2e-54a1-4a51-9c39-0e6f0c8f9a11")
    rig.push("presence", {"event": "untrack"})
    await rig.clock.advance(0.01)
    assert other.messages[-1]["payload"] == {"joins": {}, "leaves": {"ada": {"metas": [meta]}}}


async def test_a_dead_connection_leaves_at_once(rig: Rig):
    other = MemoryOutlet()
    second = rig.node.connect(serializer_for("2.0.0"), other)
    second.receive_text(json.dumps(["1", "1", "realtime:t", "phx_join", {"config": {"presence": {"key": "bob"}}}]))
    second.receive_text(json.dumps(["1", "2", "realtime:t", "presence", {"event": "track"}]))
    await rig.join()
    await rig.clock.advance(0.01)
    second.gone()
    await rig.clock.advance(0.01)
    assert rig.events[-1] == "presence_diff"
    assert list(rig.last["leaves"]) == ["bob"]
    assert rig.node.rooms.presence_count == 0


async def test_who_asks_and_does_not_read_the_answers_for_a_while_is_sent_away(rig: Rig):
    await rig.join()
    rig.outlet.is_paused = True
    rig.outlet._buffered = 5 << 20
    rig.push("presence", {"event": "untrack"})
    await rig.clock.advance(UNREAD_S - 1, step_s=1)
    rig.push("presence", {"event": "untrack"})
    assert rig.outlet.closed is None
    await rig.clock.advance(2, step_s=1)
    rig.push("presence", {"event": "untrack"})
    assert rig.outlet.closed == (1013, UNREAD)


async def test_who_has_read_meanwhile_has_the_same_patience_again(rig: Rig):
    await rig.join()
    for _ in range(3):
        rig.outlet.is_paused = True
        rig.outlet._buffered = 5 << 20
        rig.push("presence", {"event": "untrack"})
        rig.outlet.drain()
        rig.client.resumed()
        await rig.clock.advance(UNREAD_S / 2, step_s=1)
    assert rig.outlet.closed is None


async def test_there_is_a_bound_to_what_is_unread(rig: Rig):
    await rig.join()
    rig.outlet.is_paused = True
    rig.outlet._buffered = 33 << 20
    rig.push("presence", {"event": "untrack"})
    assert rig.outlet.closed == (1013, UNREAD)


@pytest.mark.parametrize(("code", "is_limited"), [(1009, True), (1000, False), (None, False)])
async def test_a_client_that_could_not_take_a_message_gets_large_ones_shortened(
    rig: Rig,
    code: int | None,
    *,
    is_limited: bool,
):
    for code_of_this in (code, None):
        outlet = MemoryOutlet()
        client = rig.node.connect(serializer_for("2.0.0"), outlet, Identity("tab-1"))
        client.gone(code_of_this)
    outlet = MemoryOutlet()
    client = rig.node.connect(serializer_for("2.0.0"), outlet, Identity("tab-1"))
    client.receive_text(json.dumps(["1", "1", "realtime:t", "phx_join", {"config": {"postgres_changes": [TODOS]}}]))
    await rig.clock.settle()
    rig.source.send(
        pgoutput.begin(100), pgoutput.relation(), pgoutput.insert(1, "x" * (LIMITED_BYTES - 20)), pgoutput.commit(100)
    )
    await rig.clock.settle()
    data = outlet.messages[-1][4]["data"]
    assert data["errors"] == (["Error 413: Payload Too Large"] if is_limited else None)
    assert data["record"]["id"] == 1
    assert ("title" in data["record"]) is not is_limited
    client.gone()


async def test_nobody_without_an_identity_is_remembered(rig: Rig):
    rig.client.gone(1009)
    assert rig.node.memory.acknowledged.dump() == []
