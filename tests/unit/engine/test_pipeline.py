"""The pipeline on a replication stream in memory: what is taken over, what is confirmed, and what a break costs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pgoutput
import pytest
from memory_source import MemoryCatalog, MemorySource, database

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.floor import Floor
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.model.change import Kind
from pgcast.model.errors import ConnectionFailed, NotPrepared, SlotBusy, SlotLost, StreamEnded
from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.model.position import epoch_of
from pgcast.model.snapshot import Snapshot


@dataclass
class Rig:
    clock: Clock
    source: MemorySource
    catalog: MemoryCatalog
    hub: Hub
    losses: list[float] = field(default_factory=list)
    pipeline: Pipeline = field(init=False)

    def __post_init__(self) -> None:
        self.pipeline = Pipeline(
            database(self.source, self.catalog), self.hub, Backoff(1, 1), lambda: self.losses.append(self.clock.now_s)
        )

    @property
    def taken_over(self) -> list[tuple[int, int]]:
        """(commit LSN, index) of all that is in the window."""
        window = self.hub.window
        return [
            (change.transaction.commit_lsn, change.index) for change in window.changes_from(window.start, 1_000_000)
        ]

    def flushed(self) -> list[int]:
        return [flushed for _, flushed, _ in self.source.statuses if flushed != NO_LSN]


@pytest.fixture
async def rig(clock: Clock) -> AsyncIterator[Rig]:
    made = Rig(clock, MemorySource(), MemoryCatalog(), Hub(Payloads(), HubLimits(flush_gap_s=0, window_s=10)))
    running = asyncio.create_task(made.pipeline.run())
    await clock.settle()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.pipeline.close()


async def test_changes_get_the_position_of_their_transaction_and_their_number_in_it(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1, 2), *pgoutput.transaction(200, 3, announced=False))
    await rig.clock.settle()
    assert rig.taken_over == [(100, 0), (100, 1), (200, 0)]
    first, *_ = rig.hub.window.changes_from(0, 1)
    assert first.record == b'{"id":1,"title":"milk"}'
    assert first.transaction.position_prefix == f"{rig.pipeline.epoch}-{100:016x}-".encode()
    assert rig.pipeline.transactions == 2


async def test_the_catalog_is_asked_once_for_each_announcement(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1, 2), *pgoutput.transaction(200, 3, announced=False))
    await rig.clock.settle()
    assert rig.catalog.described == ["todos"]


async def test_a_truncate_is_a_change_of_its_own(rig: Rig):
    rig.source.send(pgoutput.begin(100), pgoutput.relation(), pgoutput.truncate(), pgoutput.commit(100))
    await rig.clock.settle()
    assert [change.kind for change in rig.hub.window.changes_from(0, 10)] == [Kind.TRUNCATE]


async def test_a_large_transaction_is_taken_over_before_it_is_complete(rig: Rig):
    rig.source.send(pgoutput.begin(100), pgoutput.relation(), pgoutput.insert(1))
    await rig.clock.settle()
    assert rig.taken_over == [(100, 0)]


async def test_nothing_is_confirmed_before_the_window_has_let_go_of_it(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.advance(5)
    assert rig.flushed() == []
    await rig.clock.advance(10)
    assert rig.flushed() == [pgoutput.end_of(100)]
    assert rig.source.statuses[-1] == (pgoutput.end_of(100), NO_LSN, True), "the last message confirms nothing"


async def test_an_idle_stream_is_confirmed_by_keepalives(rig: Rig):
    rig.source.send(pgoutput.keepalive(5000))
    await rig.clock.advance(2)
    assert rig.flushed() == [5000]


async def test_a_keepalive_that_wants_an_answer_gets_one_that_confirms_nothing(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    rig.source.statuses.clear()
    rig.source.send(pgoutput.keepalive(5000, reply_requested=True))
    await rig.clock.settle()
    assert rig.source.statuses == [(5000, NO_LSN, False)]


async def test_postgres_is_asked_every_second_how_far_it_is(rig: Rig):
    rig.source.statuses.clear()
    await rig.clock.advance(3.01)
    assert [asked for _, _, asked in rig.source.statuses] == [True] * 3


async def test_a_broken_stream_is_opened_again_after_the_last_whole_transaction(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1), pgoutput.begin(200), pgoutput.insert(2))
    rig.source.break_off(StreamEnded("the connection broke", hint="it is tried again"))
    await rig.clock.settle()
    assert not rig.pipeline.health.is_ready(rig.clock.now_s)
    assert rig.pipeline.health.why_not(rig.clock.now_s) == "the connection broke it is tried again"
    await rig.clock.advance(1.1)
    assert rig.source.opened_after == [NO_LSN, pgoutput.end_of(100)]
    assert rig.pipeline.health.is_ready(rig.clock.now_s)
    assert rig.pipeline.reconnects == 1
    assert rig.losses == []


async def test_what_comes_again_after_a_break_is_taken_over_once(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1), pgoutput.begin(200), pgoutput.insert(2), pgoutput.insert(3))
    rig.source.break_off(StreamEnded("the connection broke"))
    await rig.clock.advance(1.1)
    rig.source.send(*pgoutput.transaction(100, 1), *pgoutput.transaction(200, 2, 3, 4))
    await rig.clock.settle()
    assert rig.taken_over == [(100, 0), (200, 0), (200, 1), (200, 2)]


async def test_a_server_that_lacks_what_was_delivered_is_a_gap_for_everybody(rig: Rig):
    rig.source.send(
        *pgoutput.transaction(100, 1), *pgoutput.transaction(200, 2), pgoutput.begin(300), pgoutput.insert(3)
    )
    await rig.clock.settle()
    rig.source.next_start = {**rig.source.next_start, "forked_at": Lsn(0), "confirmed_lsn": Lsn(50)}
    rig.source.break_off(StreamEnded("failed over"))
    await rig.clock.advance(1.1)
    assert rig.source.taken == [1, 301]
    assert len(rig.losses) == 1
    assert rig.hub.readers.passed_lsn == NO_LSN
    # What the new server wrote in place of it is delivered, and whoever names a place in the old history is told.
    rig.source.next_start["forked_at"] = None
    rig.source.send(*pgoutput.transaction(150, 1), *pgoutput.transaction(290, 2))
    await rig.clock.settle()
    assert rig.taken_over == [(150, 0), (290, 0)]
    assert rig.hub.window.number_after(200, 0) is None
    assert rig.hub.window.number_after(300, 0) is None


async def test_a_new_slot_after_a_break_is_a_gap_for_everybody(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    rig.source.next_start = {**rig.source.next_start, "slot_created": True, "confirmed_lsn": Lsn(900)}
    rig.source.break_off(StreamEnded("the slot is gone"))
    await rig.clock.advance(1.1)
    assert len(rig.losses) == 1
    assert rig.taken_over == []
    assert rig.hub.window.oldest() == (900, 0)


async def test_a_slot_that_somebody_else_has_consumed_is_a_gap_for_everybody(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    rig.source.next_start = {**rig.source.next_start, "confirmed_lsn": Lsn(900)}
    rig.source.break_off(StreamEnded("the network broke; another server followed the slot meanwhile"))
    await rig.clock.advance(1.1)
    assert len(rig.losses) == 1
    assert rig.hub.window.oldest() == (900, 0)
    rig.source.break_off(StreamEnded("the connection broke before anything came"))
    await rig.clock.advance(1.1)
    assert len(rig.losses) == 1


async def test_a_slot_that_was_consumed_no_further_than_we_have_read_is_no_gap(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1), pgoutput.keepalive(900))
    await rig.clock.settle()
    rig.source.next_start = {**rig.source.next_start, "confirmed_lsn": Lsn(900)}
    rig.source.break_off(StreamEnded("the connection broke"))
    await rig.clock.advance(1.1)
    assert rig.losses == []
    assert rig.taken_over == [(100, 0)]


async def test_another_database_begins_another_history(rig: Rig):
    epoch = rig.pipeline.epoch
    rig.source.send(*pgoutput.transaction(5000, 1))
    await rig.clock.settle()
    rig.source.next_start = {**rig.source.next_start, "system_identifier": "8"}
    rig.source.break_off(StreamEnded("failed over"))
    await rig.clock.advance(1.1)
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    assert rig.pipeline.epoch != epoch
    assert rig.taken_over == [(100, 0)], "lower positions than before are no repeats there"
    assert len(rig.losses) == 1


async def test_opening_is_tried_until_it_works(rig: Rig):
    rig.source.refusals = [ConnectionFailed("connection refused") for _ in range(3)]
    rig.source.break_off(StreamEnded("Postgres stops"))
    await rig.clock.advance(2)
    assert not rig.pipeline.opened.is_set()
    assert rig.pipeline.health.why_not(rig.clock.now_s) == "connection refused"
    await rig.clock.advance(3)
    assert rig.pipeline.opened.is_set()
    assert rig.pipeline.reconnects == 1, "refusals between are no further breaks"


async def test_a_fault_of_ours_is_logged_and_the_stream_opened_again(rig: Rig, capsys: pytest.CaptureFixture[str]):
    rig.source.break_off(RuntimeError("a bug"))
    await rig.clock.settle()
    assert rig.pipeline.health.why_not(rig.clock.now_s) == "the pipeline failed: RuntimeError"
    assert "a bug" in capsys.readouterr().out
    await rig.clock.advance(1.1)
    assert rig.pipeline.health.is_ready(rig.clock.now_s)


async def test_bytes_that_follow_no_format_break_the_stream_off(rig: Rig):
    rig.source.send(pgoutput.wal_data(b"?"))
    await rig.clock.settle()
    assert not rig.pipeline.health.is_ready(rig.clock.now_s)
    await rig.clock.advance(1.1)
    assert rig.source.opened_after == [NO_LSN, NO_LSN]


async def test_what_the_last_run_let_go_of_is_where_the_window_begins(clock: Clock):
    source, hub = MemorySource(), Hub(Payloads(), HubLimits())
    source.next_start = {**source.next_start, "slot_created": False, "confirmed_lsn": Lsn(900)}
    pipeline = Pipeline(database(source), hub, Backoff(1, 1), lambda: None)
    pipeline.known_floor = Floor(epoch_of("7", "5"), 900, 800, 3)
    await pipeline.open()
    assert hub.window.floor == (800, 3)
    await pipeline.close()


@pytest.mark.parametrize("known", [("ffffffff", 900), (epoch_of("7", "5"), 899)])
async def test_what_another_run_of_another_place_knew_counts_for_nothing(clock: Clock, known: tuple[str, int]):
    source, hub = MemorySource(), Hub(Payloads(), HubLimits())
    source.next_start = {**source.next_start, "slot_created": False, "confirmed_lsn": Lsn(900)}
    pipeline = Pipeline(database(source), hub, Backoff(1, 1), lambda: None)
    pipeline.known_floor = Floor(*known, 800, 3)
    await pipeline.open()
    assert hub.window.floor == (900, 0)
    await pipeline.close()


async def test_closing_confirms_what_may_be_confirmed(clock: Clock):
    source, catalog, hub = MemorySource(), MemoryCatalog(), Hub(Payloads(), HubLimits(window_s=10))
    pipeline = Pipeline(database(source, catalog), hub, Backoff(1, 1), lambda: None)
    running = asyncio.create_task(pipeline.run())
    source.send(pgoutput.keepalive(5000))
    await clock.advance(2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await pipeline.close()
    assert source.statuses[-1] == (5000, 5000, False)
    assert not source.is_open


async def test_asking_for_progress_without_a_stream_is_harmless(clock: Clock):
    source, catalog, hub = MemorySource(), MemoryCatalog(), Hub(Payloads(), HubLimits())
    pipeline = Pipeline(database(source, catalog), hub, Backoff(1, 1), lambda: None)
    pipeline.ask_for_progress()
    assert source.statuses == []


async def test_an_invalidated_slot_is_made_anew_and_everybody_told(rig: Rig):
    rig.source.refusals = [SlotLost("invalidated")]
    rig.source.break_off(StreamEnded("terminated"))
    await rig.clock.advance(4)
    assert rig.source.dropped == 1
    assert rig.pipeline.health.is_ready(rig.clock.now_s)
    assert len(rig.losses) == 1


async def test_a_slot_that_cannot_be_dropped_yet_is_dropped_later(rig: Rig):
    rig.source.drop_failure = ConnectionFailed("away")
    rig.source.refusals = [SlotLost("invalidated") for _ in range(20)]
    rig.source.break_off(SlotLost("invalidated"))
    await rig.clock.advance(3)
    assert rig.source.dropped == 0
    rig.source.drop_failure = None
    await rig.clock.advance(1.1)
    assert rig.source.dropped == 1


async def test_a_slot_that_is_to_be_dropped_is_not_followed_until_it_is(rig: Rig):
    """Else it would be dropped at the next break, perhaps days later."""
    rig.source.drop_failure = SlotBusy("its walsender has not noticed yet")
    await rig.pipeline.start_over("too much WAL")
    await rig.clock.advance(2.1)
    assert len(rig.source.opened_after) == 1
    assert rig.pipeline.health.why_not(rig.clock.now_s) == "its walsender has not noticed yet"
    rig.source.drop_failure = None
    await rig.clock.advance(1.1)
    assert (rig.source.dropped, len(rig.losses)) == (1, 1)
    rig.source.break_off(StreamEnded("the connection broke"))
    await rig.clock.advance(1.1)
    assert rig.source.dropped == 1


async def test_an_interrupted_stream_says_why_it_was_closed(rig: Rig):
    await rig.pipeline.interrupt(StreamEnded("the database is going away"))
    await rig.clock.settle()
    assert rig.pipeline.health.why_not(rig.clock.now_s) == "the database is going away"
    await rig.clock.advance(1.1)
    assert rig.pipeline.health.is_ready(rig.clock.now_s)


async def test_a_slot_that_stands_before_its_publication_is_made_anew(rig: Rig):
    for dropped in (0, 1):
        rig.source.break_off(NotPrepared('publication "p" does not exist'))
        await rig.clock.advance(2)
        assert rig.source.dropped == dropped
    assert len(rig.losses) == 1


async def test_but_not_while_the_publication_is_still_missing(rig: Rig):
    rig.source.break_off(NotPrepared('publication "p" does not exist'))
    rig.source.refusals = [NotPrepared('no publication "p"')] * 3
    await rig.clock.advance(10)
    assert rig.source.dropped == 0


async def test_nor_where_the_stream_brings_something(rig: Rig):
    for commit_lsn in (100, 200, 300):
        rig.source.send(*pgoutput.transaction(commit_lsn, 1))
        rig.source.break_off(NotPrepared('publication "p" does not exist'))
        await rig.clock.advance(2)
    assert rig.source.dropped == 0


async def test_a_publication_that_goes_missing_while_changes_flow_is_waited_for(rig: Rig):
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    rig.source.break_off(NotPrepared('publication "p" does not exist'))
    await rig.clock.settle()
    assert rig.source.dropped == 0


async def test_a_standby_confirms_at_once(rig: Rig):
    rig.pipeline.is_standby = True
    rig.source.send(*pgoutput.transaction(100, 1))
    await rig.clock.settle()
    assert rig.flushed()[-1] == rig.pipeline.progress.ended
    assert rig.pipeline.confirmed == rig.pipeline.progress.ended


async def test_what_a_standby_has_confirmed_is_not_promised_to_the_next_run(rig: Rig):
    rig.pipeline.is_standby = True
    rig.source.send(*pgoutput.transaction(100, 1), *pgoutput.transaction(200, 2, 3), pgoutput.begin(300))
    rig.source.send(pgoutput.insert(4))
    await rig.clock.settle()
    assert rig.pipeline.floor() == Floor(rig.pipeline.epoch, pgoutput.end_of(200), 200, 1)


@pytest.fixture
async def stale(clock: Clock) -> AsyncIterator[Rig]:
    """A rig on version 14, whose catalog has been looked at twice."""
    made = Rig(clock, MemorySource(), MemoryCatalog(), Hub(Payloads(), HubLimits(flush_gap_s=0, window_s=10)))
    made.source.server_version = 140_023
    made.catalog.seen = Snapshot(50, 50, frozenset(), Lsn(60))
    running = asyncio.create_task(made.pipeline.run())
    await clock.advance(1.1)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.pipeline.close()


def rows(commit_lsn: int, *records: int) -> list[bytes]:
    """A transaction of rows, each with the number of its record."""
    changes = [pgoutput.insert(record, lsn=record) for record in records]
    return [pgoutput.begin(commit_lsn), pgoutput.relation(), *changes, pgoutput.commit(commit_lsn)]


async def test_what_an_attached_table_wrote_is_read_again_and_numbered_on(stale: Rig):
    stale.source.send(*rows(100), *rows(200, 101, 103), *rows(300, 202), *rows(400, 302, 304)[:-2])
    await stale.clock.settle()
    stale.catalog.partitions = frozenset({(5, 1, 100)})
    await stale.clock.advance(1)
    assert stale.source.opened_after == [NO_LSN, pgoutput.end_of(100)]
    assert stale.losses == []
    assert stale.pipeline.reconnects == 0
    stale.source.send(*rows(200, 101, 102, 103), *rows(300, 201, 202), *rows(400, 301, 302, 303, 304), *rows(500, 401))
    await stale.clock.settle()
    window = stale.hub.window
    got = [
        (change.transaction.commit_lsn, change.index, change.values and change.values[0])
        for change in window.changes_from(window.start, 100)
    ]
    assert got == [
        (200, 0, b"101"), (200, 1, b"103"), (300, 0, b"202"), (400, 0, b"302"),
        (400, 1, b"102"), (400, 2, b"201"), (400, 3, b"301"), (400, 4, b"303"), (400, 5, b"304"),
        (500, 0, b"401"),
    ]  # fmt: skip
    assert stale.pipeline.transactions == 5


async def test_a_second_reading_that_breaks_goes_on_where_it_was(stale: Rig):
    stale.source.send(*rows(100), *rows(200, 101), *rows(300, 202))
    await stale.clock.settle()
    stale.catalog.partitions = frozenset({(5, 1, 100)})
    await stale.clock.advance(1)
    stale.source.send(*rows(200, 101, 102), pgoutput.begin(300))
    stale.source.break_off(StreamEnded("the connection broke"))
    await stale.clock.advance(1.1)
    assert stale.source.opened_after[1:] == [pgoutput.end_of(100), pgoutput.end_of(200)]
    stale.source.send(*rows(300, 201, 202), *rows(400, 301))
    stale.source.break_off(StreamEnded("the connection broke"))
    await stale.clock.advance(1.1)
    assert stale.source.opened_after[3:] == [pgoutput.end_of(400)]
    assert stale.taken_over == [(200, 0), (300, 0), (300, 1), (300, 2), (400, 0)]


async def test_a_transaction_that_attaches_is_the_last_that_its_stream_brings(stale: Rig):
    stale.catalog.partitions = frozenset({(5, 1, 200)})
    stale.catalog.seen = Snapshot(50, 50, frozenset(), Lsn(900))
    await stale.clock.advance(1)
    stale.source.send(*rows(100, 90), *rows(200), *rows(300, 202))
    await stale.clock.settle()
    assert stale.taken_over == [(100, 0)]
    assert stale.source.opened_after == [NO_LSN, pgoutput.end_of(200)]


async def test_where_the_stretch_is_confirmed_everybody_is_told(stale: Rig):
    stale.pipeline.is_standby = True
    stale.source.send(*rows(100), *rows(200, 101))
    await stale.clock.settle()
    stale.catalog.partitions = frozenset({(5, 1, 100)})
    await stale.clock.advance(1)
    assert len(stale.losses) == 1


async def test_the_last_looks_are_not_confirmed_over(stale: Rig):
    stale.source.send(pgoutput.keepalive(5000))
    await stale.clock.advance(2)
    assert stale.flushed() == [60]


async def test_an_attaching_that_the_stream_does_not_tell_of_is_a_gap(stale: Rig, capsys: pytest.CaptureFixture[str]):
    stale.catalog.partitions = frozenset({(5, 1, 77)})
    stale.source.send(*rows(100, 90))
    await stale.clock.advance(1.1)
    assert len(stale.losses) == 1
    assert stale.source.opened_after == [NO_LSN, pgoutput.end_of(100)]
    assert "what it wrote at first is lost" in capsys.readouterr().out


async def test_a_large_row_is_let_go_of_once_it_is_decoded_and_others_get_their_turn_before_it(rig: Rig):
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(rig.taken_over))
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    batch = [pgoutput.begin(100), pgoutput.relation(), pgoutput.insert(1, "x" * 2_000_000), pgoutput.insert(2)]
    await asyncio.sleep(0)
    turns.clear()
    await rig.pipeline._take(batch)
    task.cancel()
    assert turns.count(0) >= 2
    assert rig.taken_over == [(100, 0), (100, 1)]
    assert [len(envelope) < 1000 for envelope in batch] == [True] * 4


@dataclass
class Told:
    """What was handed on beside the changes."""

    rows: list[tuple[int, int]] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)

    def watch(self, rig: Rig) -> None:
        rig.pipeline.relays.on_insert["public", "todos"] = lambda change: self.rows.append(
            (change.transaction.commit_lsn, change.index)
        )
        rig.pipeline.relays.on_message["p"] = lambda content, _: self.messages.append(content)


@pytest.fixture
def told(rig: Rig) -> Told:
    made = Told()
    made.watch(rig)
    return made


async def test_messages_are_handed_on_by_their_prefix_and_number_no_change(rig: Rig, told: Told):
    rig.source.send(
        pgoutput.begin(100),
        pgoutput.relation(),
        pgoutput.message(b"one", lsn=91),
        pgoutput.insert(1),
        pgoutput.message(b"other", prefix="q", lsn=92),
        pgoutput.message(b"two", lsn=93),
        pgoutput.insert(2),
        pgoutput.commit(100),
    )
    await rig.clock.settle()
    assert told.messages == [b"one", b"two"]
    assert rig.taken_over == [(100, 0), (100, 1)]


async def test_inserts_that_are_watched_are_handed_on_and_published_like_any(rig: Rig, told: Told):
    rig.source.send(*pgoutput.transaction(100, 1, 2))
    await rig.clock.settle()
    assert told.rows == [(100, 0), (100, 1)]
    assert rig.taken_over == [(100, 0), (100, 1)]


async def test_nothing_is_handed_on_twice_after_a_break(rig: Rig, told: Told):
    first = [pgoutput.begin(100), pgoutput.relation(), pgoutput.message(b"one", lsn=91), pgoutput.insert(1)]
    loose = pgoutput.message(b"at once", transactional=False, lsn=120)
    rig.source.send(*first)
    rig.source.break_off(StreamEnded("the connection broke"))
    await rig.clock.advance(1.1)
    rest = [pgoutput.message(b"two", lsn=92), pgoutput.insert(2), pgoutput.commit(100)]
    rig.source.send(*first, *rest, loose)
    rig.source.break_off(StreamEnded("the connection broke"))
    await rig.clock.advance(1.1)
    rig.source.send(*first, *rest, loose, pgoutput.message(b"later", transactional=False, lsn=130))
    await rig.clock.settle()
    assert told.messages == [b"one", b"two", b"at once", b"later"]
    assert told.rows == [(100, 0), (100, 1)]


async def cut_off(rig: Rig, cut: int, first: str, again: str) -> None:
    """Send a transaction three times, at first only a part of it; a message ends where a row begins."""

    def written(begins_with: str) -> list[bytes]:
        tied = [pgoutput.message(b"one", lsn=91), pgoutput.insert(1, lsn=91)]
        tied = tied if begins_with == "a message" else tied[::-1]
        rest = [pgoutput.message(b"two", lsn=93), pgoutput.insert(2, lsn=94)]
        return [pgoutput.begin(100), pgoutput.relation(), *tied, *rest, pgoutput.commit(100)]

    for part in (written(first)[:cut], written(again)):
        rig.source.send(*part)
        rig.source.break_off(StreamEnded("the connection broke"))
        await rig.clock.advance(1.1)
    rig.source.send(*written(first))
    await rig.clock.settle()


# The stream tells of a message where it ends, so one of another savepoint than the row after it may come either way.
either_way = pytest.mark.parametrize(("first", "again"), list(itertools.product(("a message", "a row"), repeat=2)))
anywhere = pytest.mark.parametrize("cut", range(1, 7))


@anywhere
@either_way
async def test_a_message_that_ends_where_a_row_begins_is_neither_lost_nor_repeated(
    rig: Rig, told: Told, cut: int, first: str, again: str
):
    await cut_off(rig, cut, first, again)
    assert told.messages == [b"one", b"two"]
    assert told.rows == [(100, 0), (100, 1)]


@anywhere
@either_way
async def test_nor_where_stretches_are_read_again(stale: Rig, told: Told, cut: int, first: str, again: str):
    told.watch(stale)
    await cut_off(stale, cut, first, again)
    assert told.messages == [b"one", b"two"]
    assert told.rows == [(100, 0), (100, 1)]


async def test_what_was_committed_before_the_first_start_is_past(clock: Clock):
    source = MemorySource()
    source.next_start = {**source.next_start, "slot_created": False, "written_lsn": Lsn(150)}
    rig = Rig(clock, source, MemoryCatalog(), Hub(Payloads(), HubLimits()))
    told = Told()
    told.watch(rig)
    running = asyncio.create_task(rig.pipeline.run())
    await clock.settle()
    source.send(
        *pgoutput.transaction(100, 1),
        pgoutput.message(b"past", transactional=False, lsn=149),
        pgoutput.begin(150),
        pgoutput.message(b"now", lsn=140),
        pgoutput.insert(2),
        pgoutput.commit(150),
        pgoutput.message(b"at once", transactional=False, lsn=160),
    )
    source.next_start = {**source.next_start, "written_lsn": Lsn(300)}
    source.break_off(StreamEnded("the connection broke"))
    await clock.advance(1.1)
    source.send(*pgoutput.transaction(200, 3))
    await clock.settle()
    assert told.rows == [(150, 0), (200, 0)], "a later start of the same run is no new beginning"
    assert told.messages == [b"now", b"at once"]
    assert rig.taken_over == [(100, 0), (150, 0), (200, 0)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_fault_in_whoever_is_told_does_not_stop_the_stream(rig: Rig, capsys: pytest.CaptureFixture[str]):
    def fail(content: bytes, _: object) -> None:
        raise RuntimeError(f"a bug with {len(content)} bytes")

    rig.pipeline.relays.on_message["p"] = fail
    rig.source.send(
        pgoutput.begin(100),
        pgoutput.message(b"one", lsn=91),
        pgoutput.relation(),
        pgoutput.insert(1),
        pgoutput.commit(100),
    )
    await rig.clock.settle()
    assert "a bug with 3 bytes" in capsys.readouterr().out
    assert rig.taken_over == [(100, 0)]
    assert rig.pipeline.reconnects == 0


class Brimming:
    """Takes what is handed on, and is full until it has been flushed a few times."""

    def __init__(self) -> None:
        self.flushes_left = 0
        self.flushed = 0

    @property
    def is_full(self) -> bool:
        return self.flushes_left > 0

    def flush_now(self) -> None:
        self.flushes_left -= 1
        self.flushed += 1


async def test_reading_waits_while_whoever_is_told_is_full(rig: Rig):
    brimming = Brimming()
    taken: list[bytes] = []

    def take(content: bytes, _: object) -> None:
        assert not brimming.is_full
        taken.append(content)
        brimming.flushes_left = 3

    rig.pipeline.relays.on_message["p"] = take
    rig.pipeline.relays.basin = brimming
    messages = [pgoutput.message(b"one", lsn=lsn) for lsn in (91, 92, 93)]
    rig.source.send(pgoutput.begin(100), *messages, pgoutput.commit(100))
    await rig.clock.advance(0.1)
    assert len(taken) == 3
    assert brimming.flushed == 9


async def test_what_is_read_a_second_time_is_handed_on_once(stale: Rig, told: Told):
    told.watch(stale)
    message = pgoutput.message(b"one", lsn=101)
    stale.source.send(*rows(100), pgoutput.begin(200), message, *rows(200, 103)[1:])
    stale.source.send(pgoutput.begin(300), pgoutput.relation(), pgoutput.message(b"two", lsn=201))
    await stale.clock.settle()
    stale.catalog.partitions = frozenset({(5, 1, 100)})
    await stale.clock.advance(1)
    stale.source.send(pgoutput.begin(200), message, *rows(200, 102, 103)[1:])
    rest = [pgoutput.message(b"three", lsn=202), pgoutput.insert(204, lsn=204), pgoutput.commit(300)]
    stale.source.send(pgoutput.begin(300), pgoutput.relation(), pgoutput.message(b"two", lsn=201), *rest)
    await stale.clock.settle()
    assert told.messages == [b"one", b"two", b"three"]
    assert len(told.rows) == 3
    assert len(stale.taken_over) == 3
