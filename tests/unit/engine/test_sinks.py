"""Sinks: what they are handed, and how they hold the slot and the reading of the WAL back."""

from __future__ import annotations

import asyncio

import pytest
from making import change, table, transaction

from pgcast.changes.payload import Payloads
from pgcast.engine.hub import Hub, HubLimits
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Change, Kind
from pgcast.model.lsn import Lsn

TODOS = table()


class Journal:
    """A sink that notes what it is told, and whose state a test sets."""

    unsafe_from = None
    is_full = False

    def __init__(self, *entries: Entry) -> None:
        self.entries = entries
        self.told: list[object] = []

    def take(self, change: Change, ids: tuple[int, ...]) -> None:
        self.told.append((change.transaction.commit_lsn, change.index, ids))

    def commit(self) -> None:
        self.told.append("commit")

    def break_off(self) -> None:
        self.told.append("break off")

    def lost(self) -> None:
        self.told.append("lost")


def make_hub() -> Hub:
    return Hub(Payloads(), HubLimits(flush_gap_s=0, window_s=0.001))


def publish(hub: Hub, commit_lsn: int, *, count: int = 1) -> None:
    one = transaction(commit_lsn)
    for index in range(count):
        hub.publish(change(one, index, on=TODOS), 50, now_s=0)


def test_a_sink_gets_what_its_entries_want_and_is_told_of_the_end():
    hub = make_hub()
    inserts, deletes = Journal(Entry(7, ROW_KINDS)), Journal(Entry(8, frozenset({Kind.DELETE})))
    hub.sinks.add(inserts)
    hub.sinks.add(deletes)
    publish(hub, 100, count=2)
    hub.commit(Lsn(105))
    hub.commit(Lsn(205))
    assert inserts.told == [(100, 0, (7,)), (100, 1, (7,)), "commit"]
    assert deletes.told == [], "a transaction that holds nothing for it does not concern it"


def test_a_break_is_told_to_those_who_took_something():
    hub = make_hub()
    sink = Journal(Entry(1, ROW_KINDS))
    hub.sinks.add(sink)
    publish(hub, 100)
    hub.break_off()
    hub.break_off()
    assert sink.told == [(100, 0, (1,)), "break off"]


def test_a_sink_that_was_removed_gets_nothing_more():
    hub = make_hub()
    sink = Journal(Entry(1, ROW_KINDS))
    hub.sinks.add(sink)
    publish(hub, 100)
    hub.sinks.remove(sink)
    hub.sinks.remove(sink)
    publish(hub, 100)
    hub.commit(Lsn(105))
    assert sink.told == [(100, 0, (1,))]
    assert not hub.sinks


def test_the_slot_is_not_confirmed_beyond_what_a_sink_has_safe():
    hub = make_hub()
    first, second = Journal(), Journal()
    hub.sinks.add(first)
    hub.sinks.add(second)
    publish(hub, 100)
    hub.commit(Lsn(105))
    hub.trim(now_s=10)
    assert hub.confirmable == 105
    first.unsafe_from = Lsn(100)
    second.unsafe_from = Lsn(200)
    assert hub.confirmable == 100
    first.unsafe_from = None
    assert hub.confirmable == 105


async def test_reading_waits_for_a_sink_that_is_full():
    hub = make_hub()
    sink = Journal()
    hub.sinks.add(sink)
    sink.is_full = True
    waiting = asyncio.create_task(hub.may_read())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    assert hub.is_holding
    sink.is_full = False
    async with asyncio.timeout(5):
        await waiting
    assert not hub.is_holding


def test_what_only_postgres_can_decide_is_refused():
    hub = make_hub()
    with pytest.raises(ValueError, match="Postgres"):
        hub.sinks.add(Journal(Entry(1, ROW_KINDS, asks=True)))
    assert not hub.sinks
