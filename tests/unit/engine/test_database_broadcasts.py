from __future__ import annotations

import pytest
from making import TEXT, change, table, transaction
from memory_source import database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.database_broadcasts import DatabaseBroadcasts
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.model.errors import DatabaseError
from pgcast.model.lsn import NO_LSN
from pgcast.model.messages import MESSAGE_PREFIX, DatabaseMessage
from pgcast.model.snapshot import Snapshot


class Rig:
    """What the pipeline hands over, put in by hand."""

    def __init__(self, max_payload_bytes: int = 20) -> None:
        self.pipeline = Pipeline(database(), Hub(Payloads(), HubLimits()), Backoff(1, 1), lambda: None)
        self.delivered: list[DatabaseMessage] = []
        self.broadcasts = DatabaseBroadcasts(
            self.pipeline.relays, self.delivered.append, max_payload_bytes=max_payload_bytes
        )

    def write(self, payload: str = "1", *, topic: str = "room", private: bool = True, xid: int | None = 70) -> None:
        content = f'{{"topic":"{topic}","event":"e","payload":{payload},"private":{str(private).lower()}}}'
        self.pipeline.relays.on_message[MESSAGE_PREFIX](content.encode(), xid)

    def insert(self, **row: bytes) -> None:
        on = table("messages", in_schema="realtime", **dict.fromkeys(row, TEXT))
        one = change(transaction(100), on=on, values=tuple(row.values()))
        self.pipeline.relays.on_insert["realtime", "messages"](one)


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    return Rig()


async def test_rows_and_messages_are_delivered_in_order(rig: Rig):
    rig.insert(topic=b"room", event=b"e", payload=b"0", id=b"7")
    rig.write("1")
    assert [(one.payload, one.id) for one in rig.delivered] == [(b"0", "7"), (b"1", None)]
    assert rig.broadcasts.delivered == 2


async def test_what_cannot_be_delivered_is_dropped_and_said_once_a_second(
    rig: Rig, clock: Clock, capsys: pytest.CaptureFixture[str]
):
    rig.insert(topic=b"room", payload=b"0")
    rig.write("[")
    assert rig.delivered == []
    assert rig.broadcasts.dropped == 2
    said = capsys.readouterr().out
    assert "the row has no event" in said
    assert MESSAGE_PREFIX not in said
    await clock.advance(1)
    rig.write("[")
    said = capsys.readouterr().out
    assert MESSAGE_PREFIX in said
    assert "not JSON" in said


async def test_a_payload_over_the_limit_is_dropped(rig: Rig, capsys: pytest.CaptureFixture[str]):
    rig.write(f'"{"x" * 18}"')
    rig.write(f'"{"x" * 19}"')
    assert len(rig.delivered) == 1
    assert "PGCAST_MAX_PAYLOAD_KB" in capsys.readouterr().out


async def test_a_message_of_any_length_is_remembered_for_those_who_join_just_now(
    clock: Clock, capsys: pytest.CaptureFixture[str]
):
    rig = Rig(max_payload_bytes=0)
    rig.write("1", xid=70)
    rig.write(f'"{"x" * (5 << 20)}"', xid=71)
    with rig.broadcasts.collecting("room") as collection:
        (found,) = collection.unseen_by(Snapshot(70, 70, frozenset(), NO_LSN))
    assert found.size_bytes > 5 << 20
    rig.write("2", xid=72)
    with rig.broadcasts.collecting("room") as collection:
        assert [one.payload for one in collection.unseen_by(Snapshot(70, 70, frozenset(), NO_LSN))] == [b"2"]
    assert "could not be passed on" not in capsys.readouterr().out


async def test_no_limit_is_written_as_zero(clock: Clock):
    rig = Rig(max_payload_bytes=0)
    rig.write(f'"{"x" * 10_000}"')
    assert len(rig.delivered) == 1


async def test_private_messages_of_a_topic_are_collected_meanwhile(rig: Rig):
    with rig.broadcasts.collecting("room") as first, rig.broadcasts.collecting("room") as second:
        rig.write("1", xid=7)
        rig.write("2", xid=8)
        rig.write("3", xid=None)
        rig.write("4", private=False)
        rig.write("5", topic="other")
    rig.write("6")
    seen = Snapshot(8, 8, frozenset(), NO_LSN)
    for collection in (first, second):
        assert [one.payload for one in collection.unseen_by(seen)] == [b"2", b"3"]
    assert len(rig.delivered) == 6


async def test_more_than_can_be_collected_is_told(rig: Rig):
    with rig.broadcasts.collecting("room") as collection:
        for _ in range(1001):
            rig.write()
    with pytest.raises(DatabaseError):
        collection.unseen_by(Snapshot(8, 8, frozenset(), NO_LSN))


async def test_what_was_read_before_anybody_could_see_it_is_collected_too(rig: Rig, clock: Clock):
    rig.write("0", xid=9)
    await clock.advance(5.1)
    rig.write("1", xid=7)
    rig.write("2", xid=9)
    rig.write("3", xid=9, topic="other")
    rig.write("4", xid=None)
    rig.write("5", xid=9, private=False)
    await clock.advance(1)
    with rig.broadcasts.collecting("room") as collection:
        rig.write("6", xid=10)
    assert [one.payload for one in collection.unseen_by(Snapshot(8, 8, frozenset(), NO_LSN))] == [b"2", b"6"]


async def test_what_is_remembered_for_that_is_bounded(rig: Rig):
    for number in range(600):
        rig.write(str(number))
    with rig.broadcasts.collecting("room") as collection:
        pass
    assert len(collection.unseen_by(Snapshot(8, 8, frozenset(), NO_LSN))) == 500
