from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from memory_source import MemoryStore, database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.channels.channel import Channel
from pgcast.channels.effects import Dismiss, Effect, Join
from pgcast.channels.limits import Limits
from pgcast.channels.rights import EVERYTHING, Rights
from pgcast.channels.session import Outcome, Session
from pgcast.engine.backoff import Backoff
from pgcast.engine.database_broadcasts import DatabaseBroadcasts
from pgcast.engine.entrance import DISMISS_S, READY_S, Entrance
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.replay import Replays
from pgcast.frames.codec import serializer_for
from pgcast.frames.websocket import binary_frame, text_frame
from pgcast.model.errors import DatabaseError
from pgcast.model.messages import DatabaseMessage


@dataclass
class Rig:
    version: str = "2.0.0"
    written: list[bytes] = field(default_factory=list)
    performed: list[Effect] = field(default_factory=list)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        serializer = serializer_for(self.version)
        self.pipeline = Pipeline(database(), Hub(Payloads(), HubLimits()), Backoff(1, 1), lambda: None)
        broadcasts = DatabaseBroadcasts(self.pipeline.relays, lambda _: None, max_payload_bytes=0)
        self.session = Session(serializer, Limits())
        self.entrance = Entrance(
            self.session,
            serializer,
            replays=Replays(self.store, broadcasts, self.pipeline, lambda: self.pipeline.progress.received),
            pipeline=self.pipeline,
            perform=self.performed.extend,
            write=self.written.append,
        )

    def channel(self, **broadcast: object) -> Channel:
        """A channel whose join waits for its decision."""
        payload = {"config": {"private": True, "broadcast": broadcast}}
        message: object = ["6", "7", "realtime:room", "phx_join", payload]
        if self.version == "1.0.0":
            message = dict(zip(("join_ref", "ref", "topic", "event", "payload"), message, strict=True))  # type: ignore[call-overload]
        (join,) = self.session.receive_text(json.dumps(message), 0.0)
        assert isinstance(join, Join)
        return join.channel

    def joined(self, **broadcast: object) -> Channel:
        channel = self.channel(**broadcast)
        self.session.join_decided(channel, Outcome())
        return channel

    def told(self) -> list[str]:
        return [str(effect) for effect in self.performed]


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    return Rig()


JSON = DatabaseMessage("room", is_private=True, event="hi", payload=b'{"a": 1}', raw=None, id="6f1c")
RAW = DatabaseMessage("room", is_private=True, event="hi", payload=None, raw=b"\0\xff", id="6f1d")
REPLAY = {"since": 5, "limit": 3}


async def test_stored_broadcasts_are_written_when_the_room_is_entered(rig: Rig):
    rig.store.stored = [JSON, RAW]
    channel = rig.channel(replay=REPLAY)
    assert await rig.entrance.prepare(channel, EVERYTHING) is None
    assert rig.store.asked == [("room", 5, 3)]
    assert rig.written == []
    rig.entrance.entered(channel)
    text, binary = rig.written
    payload = '{"type":"broadcast","event":"hi","payload":{"a": 1},"meta":{"id":"6f1c","replayed":true}}'
    assert text == text_frame(f'["6",null,"realtime:room","broadcast",{payload}]'.encode())
    # 4 | sizes of topic, event, metadata | encoding | topic | event | metadata | bytes
    assert binary == binary_frame(b'\x04\x0d\x02\x1d\x00realtime:roomhi{"id":"6f1d","replayed":true}\0\xff')
    rig.entrance.entered(channel)
    assert len(rig.written) == 2, "once"


async def test_the_older_serializer_gets_no_bytes(clock: Clock):
    rig = Rig("1.0.0")
    rig.store.stored = [JSON, RAW]
    channel = rig.channel(replay=REPLAY)
    await rig.entrance.prepare(channel, EVERYTHING)
    rig.entrance.entered(channel)
    (text,) = rig.written
    assert b'"meta":{"id":"6f1c","replayed":true}' in text


async def test_who_does_not_ask_gets_none(rig: Rig):
    channel = rig.channel()
    assert await rig.entrance.prepare(channel, Rights()) is None
    rig.entrance.entered(channel)
    assert rig.store.asked == rig.written == []


async def test_who_may_not_read_broadcasts_is_refused(rig: Rig):
    refusal = await rig.entrance.prepare(rig.channel(replay=REPLAY), Rights(read_presence=True, read_broadcasts=False))
    assert refusal == "Unauthorized: You do not have permissions to read from this Channel topic: room"
    assert rig.store.asked == []


async def test_a_database_that_is_away_refuses_the_join(rig: Rig, capsys: pytest.CaptureFixture[str]):
    rig.store.failure = DatabaseError("away", hint="look")
    refusal = await rig.entrance.prepare(rig.channel(replay=REPLAY), EVERYTHING)
    assert refusal == "UnableToReplayMessages: Realtime was unable to replay messages"
    assert "look" in capsys.readouterr().out


async def test_what_was_fetched_for_a_channel_that_has_left_is_forgotten(rig: Rig):
    rig.store.stored = [JSON]
    channel = rig.channel(replay=REPLAY)
    await rig.entrance.prepare(channel, EVERYTHING)
    rig.entrance.left(channel)
    rig.entrance.left(channel)
    rig.entrance.entered(channel)
    assert rig.written == []


async def test_that_broadcasts_flow_is_told_at_once(rig: Rig):
    rig.pipeline.opened.set()
    rig.entrance.entered(rig.joined(replication_ready=True))
    (told,) = rig.told()
    assert "Replication connection established" in told


async def test_that_broadcasts_flow_is_told_once_they_do(rig: Rig, clock: Clock):
    rig.entrance.entered(rig.joined(replication_ready=True))
    await clock.advance(1)
    assert rig.told() == []
    rig.pipeline.opened.set()
    await clock.settle()
    (told,) = rig.told()
    assert "Replication connection established" in told


async def test_broadcasts_that_do_not_flow_in_time_end_the_channel(rig: Rig, clock: Clock):
    rig.entrance.entered(rig.joined(replication_ready=True))
    await clock.advance(READY_S + 1, step_s=1)
    _, told, closed = rig.told()
    assert "Replication connection was not established in time" in told
    assert "phx_close" in closed


async def test_a_channel_that_left_is_told_nothing(rig: Rig, clock: Clock):
    channel = rig.joined(replication_ready=True)
    rig.entrance.entered(channel)
    await clock.settle()
    rig.entrance.left(channel)
    rig.pipeline.opened.set()
    await clock.settle()
    assert rig.told() == []


async def test_a_channel_that_was_left_is_told_a_moment_later_that_it_is_closed(clock: Clock):
    rig = Rig("1.0.0")
    channel = rig.joined()
    leave = {"topic": channel.topic, "event": "phx_leave", "payload": {}, "ref": "8", "join_ref": "6"}
    *_, dismiss = rig.session.receive_text(json.dumps(leave), 0.0)
    assert dismiss == Dismiss(channel)
    rig.entrance.dismiss(channel)
    await clock.advance(DISMISS_S - 0.1)
    assert rig.performed == []
    await clock.advance(0.2)
    assert "phx_close" in str(rig.performed)
