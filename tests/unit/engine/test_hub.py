"""The hub as a whole, with outlets in memory: who gets what, in which order, and what becomes of the slow."""

from __future__ import annotations

import asyncio

import pytest
from making import change, table, transaction
from memory_outlet import MemoryOutlet

from pgcast.changes.payload import Payloads
from pgcast.engine.groups import Member, Reading, Signature
from pgcast.engine.hub import Hub, HubLimits
from pgcast.frames.codec import serializer_for
from pgcast.matching.conditions import PENDING, Condition
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind
from pgcast.model.lsn import NO_LSN, Lsn

TODOS = table()
V2 = serializer_for("2.0.0")


def make_hub(**limits: float) -> Hub:
    return Hub(Payloads(), HubLimits(flush_gap_s=0, **limits))  # type: ignore[arg-type]


def join(
    hub: Hub, outlet: MemoryOutlet, topic: str = "realtime:t", *, at: int | None = None, until: Lsn = NO_LSN
) -> Member:
    signature = Signature("2.0.0", topic, (Entry(1, ROW_KINDS),), is_legacy=False)
    return hub.join(outlet, signature, V2, Reading(hub.window.end if at is None else at, until=until))


def publish(hub: Hub, *commits: int, count: int = 1) -> None:
    for commit_lsn in commits:
        one = transaction(commit_lsn)
        for index in range(count):
            hub.publish(change(one, index, on=TODOS), 50, now_s=0)
        hub.window.commit(Lsn(commit_lsn + 5))
        hub.passed(Lsn(commit_lsn + 5))
    hub.batch_done(now_s=0)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_level_member_gets_each_change_once_in_order():
    hub, outlet = make_hub(), MemoryOutlet()
    join(hub, outlet)
    await turn()
    publish(hub, 100, 200, count=2)
    assert outlet.positions == [(100, 0), (100, 1), (200, 0), (200, 1)]
    assert len(outlet.writes) == 1, "one write per flush"


async def test_a_newcomer_is_served_from_the_window_until_the_stream_has_passed_its_join():
    hub, outlet = make_hub(), MemoryOutlet()
    publish(hub, 100)
    member = join(hub, outlet, at=0, until=Lsn(250))
    await turn()
    assert outlet.positions == [(100, 0)]
    publish(hub, 200)
    await turn()
    assert member.reading is not None
    publish(hub, 300)
    await turn()
    assert member.reading is None
    publish(hub, 400)
    assert outlet.positions == [(100, 0), (200, 0), (300, 0), (400, 0)]


async def test_members_of_one_group_share_their_frames():
    hub = make_hub()
    outlets = [MemoryOutlet() for _ in range(3)]
    for outlet in outlets:
        join(hub, outlet)
    await turn()
    publish(hub, 100)
    assert hub.group_count == 1
    assert outlets[0].writes[0] is outlets[1].writes[0] is outlets[2].writes[0]


async def test_one_connection_with_several_channels_gets_one_write():
    hub, outlet = make_hub(), MemoryOutlet()
    join(hub, outlet, "realtime:a")
    join(hub, outlet, "realtime:b")
    await turn()
    publish(hub, 100)
    assert len(outlet.writes) == 1
    assert sorted(message[2] for message in outlet.messages) == ["realtime:a", "realtime:b"]


async def test_who_has_left_gets_nothing_more_and_leaves_nothing_behind():
    hub, outlet = make_hub(), MemoryOutlet()
    member = join(hub, outlet)
    await turn()
    hub.leave(member)
    hub.leave(member)
    publish(hub, 100)
    assert outlet.writes == []
    assert (hub.group_count, hub.member_count, outlet.members) == (0, 0, 0)


async def test_a_paused_member_misses_nothing_and_the_others_notice_nothing():
    hub, slow, quick = make_hub(), MemoryOutlet(), MemoryOutlet()
    join(hub, slow)
    join(hub, quick)
    await turn()
    slow.is_paused = True
    publish(hub, 100)
    publish(hub, 200)
    assert slow.writes == []
    assert quick.positions == [(100, 0), (200, 0)]
    assert hub.ring_bytes > 0
    slow.drain()
    hub.resumed(slow)
    assert slow.positions == [(100, 0), (200, 0)]
    publish(hub, 300)
    assert slow.positions == [(100, 0), (200, 0), (300, 0)]
    assert hub.ring_bytes == 0


async def test_a_member_that_the_ring_has_passed_is_served_from_the_window():
    hub, slow, quick = make_hub(ring_bytes=1000), MemoryOutlet(), MemoryOutlet()
    join(hub, slow)
    join(hub, quick)
    await turn()
    publish(hub, 100)
    slow.is_paused = True
    expected = [(100, 0)]
    for commit_lsn in range(200, 1200, 100):
        publish(hub, commit_lsn)
        expected.append((commit_lsn, 0))
    assert hub.ring_bytes <= 1000
    slow.drain()
    hub.resumed(slow)
    await turn()
    assert slow.positions == expected == quick.positions
    publish(hub, 5000)
    assert slow.positions[-1] == (5000, 0)


async def test_a_member_that_the_window_has_passed_is_closed_with_a_reason():
    hub, slow, quick = make_hub(ring_bytes=1000, window_bytes=2000), MemoryOutlet(), MemoryOutlet()
    join(hub, slow)
    join(hub, quick)
    await turn()
    slow.is_paused = True
    for commit_lsn in range(200, 3000, 100):
        publish(hub, commit_lsn)
    slow.drain()
    hub.resumed(slow)
    await turn()
    assert slow.closed == (1013, "too slow: the changes you have not read are no longer held; reconnect and resume")
    assert quick.closed is None
    assert len(quick.positions) == 28


async def test_who_was_sent_away_may_leave_last_and_after_others_have_come():
    hub, slow, quick, late = make_hub(ring_bytes=1000, window_bytes=2000), *(MemoryOutlet() for _ in range(3))
    join(hub, slow)
    join(hub, quick)
    await turn()
    slow.is_paused = True
    for commit_lsn in range(200, 3000, 100):
        publish(hub, commit_lsn)
    slow.drain()
    hub.resumed(slow)
    await turn()
    assert slow.closed is not None
    hub.gone(quick)
    join(hub, late)
    await turn()
    hub.gone(slow)
    join(hub, late)
    await turn()
    assert (hub.member_count, hub.group_count) == (2, 1)
    publish(hub, 3000)
    assert late.positions == [(3000, 0)] * 2


async def read_all(hub: Hub, *outlets: MemoryOutlet) -> None:
    """Take what is written, again and again, until nothing more comes."""
    await turn()
    while any(outlet.is_paused for outlet in outlets):
        for outlet in outlets:
            outlet.drain()
            hub.resumed(outlet)
        await turn()


async def test_a_large_payload_is_the_same_object_for_all_groups():
    hub, outlets = make_hub(), [MemoryOutlet(), MemoryOutlet()]
    for number, outlet in enumerate(outlets):
        join(hub, outlet, f"realtime:{number}")
    await turn()
    large = change(transaction(100), 0, on=TODOS)
    large.record = b'{"id":1,"title":"%b"}' % (b"x" * 100_000)
    hub.publish(large, 100_000, now_s=0)
    hub.publish(change(large.transaction, 1, on=TODOS), 50, now_s=0)
    hub.batch_done(now_s=0)
    assert outlets[0].writes[1] is outlets[1].writes[1]
    assert [outlet.positions for outlet in outlets] == [[(100, 0), (100, 1)]] * 2


async def test_a_quick_reader_of_the_window_slows_the_stream_instead_of_falling_out():
    hub, outlet = make_hub(window_bytes=2000), MemoryOutlet(high_bytes=10)
    expected = [(100, index) for index in range(3)]
    publish(hub, 100, count=3)
    join(hub, outlet, at=0, until=Lsn(100_000))
    for commit_lsn in range(200, 2000, 100):
        publish(hub, commit_lsn)
        expected.append((commit_lsn, 0))
        if hub.hold.is_on:
            waiting = asyncio.create_task(hub.may_read())
            await read_all(hub, outlet)
            async with asyncio.timeout(1):
                await waiting
            assert hub.window.size_bytes <= 2000
    await read_all(hub, outlet)
    assert outlet.closed is None
    assert outlet.positions == expected


async def test_a_reader_of_the_window_that_others_of_its_group_have_left_behind_slows_nobody():
    hub, slow, quick = make_hub(window_bytes=2000), MemoryOutlet(high_bytes=10), MemoryOutlet()
    publish(hub, 100, count=3)
    join(hub, slow, at=0, until=Lsn(100_000))
    join(hub, quick)
    await turn()
    slow.is_paused = True
    for commit_lsn in range(200, 2000, 100):
        publish(hub, commit_lsn)
        assert not hub.hold.is_on
    await read_all(hub, slow)
    assert slow.closed is not None
    assert len(quick.positions) == 18


async def test_a_reader_of_the_window_that_takes_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pgcast.engine.hold.STALLED_S", 0.1)
    hub, outlet = make_hub(window_bytes=2000), MemoryOutlet(high_bytes=10)
    publish(hub, 100, count=3)
    join(hub, outlet, at=0, until=Lsn(100_000))
    await turn()
    for commit_lsn in range(200, 800, 100):
        publish(hub, commit_lsn)
    assert hub.hold.is_on
    async with asyncio.timeout(2):
        await hub.may_read()
    publish(hub, 800)
    assert not hub.hold.is_on
    assert hub.window.size_bytes <= 2000


async def test_a_flush_of_many_sockets_is_cut_into_slices_and_a_newcomer_in_between_misses_nothing():
    hub = make_hub()
    outlets = [MemoryOutlet() for _ in range(2500)]
    for outlet in outlets:
        join(hub, outlet)
    await turn()
    publish(hub, 100)
    assert hub.flusher.is_writing
    late = MemoryOutlet()
    join(hub, late)
    publish(hub, 200)
    await turn()
    publish(hub, 300)
    await turn()
    assert all(outlet.positions == [(100, 0), (200, 0), (300, 0)] for outlet in outlets)
    assert late.positions == [(200, 0), (300, 0)]


async def test_a_member_that_pauses_between_two_slices_gets_the_tick_later():
    hub = make_hub()
    outlets = [MemoryOutlet() for _ in range(1500)]
    for outlet in outlets:
        join(hub, outlet)
    await turn()
    publish(hub, 100)
    last = outlets[-1]
    assert last.writes == []
    last.is_paused = True
    await turn()
    assert last.writes == []
    last.drain()
    hub.resumed(last)
    assert last.positions == [(100, 0)]
    publish(hub, 200)
    await turn()
    assert last.positions == [(100, 0), (200, 0)]


async def test_who_leaves_between_two_slices_gets_nothing_more():
    hub = make_hub()
    outlets = [MemoryOutlet() for _ in range(1500)]
    members = [join(hub, outlet) for outlet in outlets]
    await turn()
    publish(hub, 100)
    hub.leave(members[-1])
    await turn()
    assert outlets[-1].writes == []


async def join_two_channels_each(hub: Hub, count: int) -> tuple[list[MemoryOutlet], list[Member]]:
    outlets = [MemoryOutlet() for _ in range(count)]
    members = [join(hub, outlet, topic) for outlet in outlets for topic in ("realtime:a", "realtime:b")]
    await turn()
    return outlets, members


async def test_connections_with_several_channels_are_written_to_in_slices_too():
    hub = make_hub()
    outlets, _ = await join_two_channels_each(hub, 1500)
    publish(hub, 100)
    most = 0
    while hub.flusher.is_writing:
        before = sum(len(outlet.writes) for outlet in outlets)
        await asyncio.sleep(0)
        most = max(most, sum(len(outlet.writes) for outlet in outlets) - before)
    assert most <= 1000
    assert [len(outlet.writes) for outlet in outlets] == [1] * 1500
    assert all(len(outlet.messages) == 2 for outlet in outlets)


async def test_who_leaves_one_of_its_channels_between_two_slices_gets_nothing_more_there():
    hub = make_hub()
    outlets, members = await join_two_channels_each(hub, 1500)
    publish(hub, 100)
    await asyncio.sleep(0)
    assert hub.flusher.is_writing
    hub.leave(members[-2])
    await turn()
    assert [message[2] for message in outlets[-1].messages] == ["realtime:b"]


async def test_a_connection_with_several_channels_that_pauses_between_two_slices_gets_them_later():
    hub = make_hub()
    outlets, _ = await join_two_channels_each(hub, 1500)
    publish(hub, 100)
    await asyncio.sleep(0)
    last = outlets[-1]
    last.is_paused = True
    await turn()
    assert last.writes == []
    last.drain()
    hub.resumed(last)
    assert last.positions == [(100, 0), (100, 0)]


async def test_reading_pauses_when_nobody_of_a_group_is_level_and_goes_on_when_the_fastest_is():
    hub, outlet = make_hub(hold_s=30), MemoryOutlet(high_bytes=10)
    join(hub, outlet)
    await turn()
    publish(hub, 100)
    publish(hub, 200)
    assert hub.hold.is_on
    waiting = asyncio.create_task(hub.may_read())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    outlet.drain()
    hub.resumed(outlet)
    outlet.drain()
    hub.resumed(outlet)
    async with asyncio.timeout(1):
        await waiting
    assert outlet.positions == [(100, 0), (200, 0)]


async def test_a_group_in_which_nobody_takes_bytes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pgcast.engine.hold.STALLED_S", 0.1)
    hub, outlet = make_hub(hold_s=30), MemoryOutlet(high_bytes=10)
    join(hub, outlet)
    await turn()
    publish(hub, 100)
    publish(hub, 200)
    async with asyncio.timeout(2):
        await hub.may_read()
    publish(hub, 300)
    assert not hub.hold.is_on, "it is not waited for until somebody takes bytes again"
    outlet.drain()
    hub.resumed(outlet)
    publish(hub, 350)
    assert hub.hold.is_on
    outlet.drain()
    hub.resumed(outlet)
    outlet.drain()
    hub.resumed(outlet)
    publish(hub, 400)
    publish(hub, 500)
    assert hub.hold.is_on


async def test_a_pause_is_bounded_even_while_bytes_are_taken():
    hub, outlet = make_hub(hold_s=0.2), MemoryOutlet(high_bytes=10)
    join(hub, outlet)
    await turn()
    publish(hub, 100)
    publish(hub, 200)

    async def crawl() -> None:
        while True:
            outlet._buffered += 1
            await asyncio.sleep(0.01)

    crawling = asyncio.create_task(crawl())
    async with asyncio.timeout(2):
        await hub.may_read()
    crawling.cancel()


async def test_a_group_whose_last_member_has_gone_holds_nothing_up():
    hub, outlet = make_hub(hold_s=30), MemoryOutlet(high_bytes=10)
    join(hub, outlet)
    await turn()
    publish(hub, 100)
    publish(hub, 200)
    hub.gone(outlet)
    async with asyncio.timeout(1):
        await hub.may_read()
    assert hub.ring_bytes == 0


def joined(hub: Hub, outlet: MemoryOutlet, *entries: Entry) -> Member:
    signature = Signature("2.0.0", "realtime:t", entries, is_legacy=False)
    return hub.join(outlet, signature, V2, Reading(hub.window.end))


def title_is(text: str) -> tuple[Condition, ...]:
    return (Condition("title", "eq", (text,)),)


async def test_different_columns_are_different_messages():
    hub, outlet = make_hub(), MemoryOutlet()
    joined(
        hub,
        outlet,
        Entry(1, ROW_KINDS),
        Entry(2, ROW_KINDS, "public", "todos", select=("title",)),
        Entry(3, ROW_KINDS, "public", "todos", select=("id",)),
        Entry(4, ROW_KINDS, "public", "todos", title_is("milk"), select=("title",)),
    )
    await turn()
    publish(hub, 100)
    contents = {tuple(message[4]["ids"]): message[4]["data"]["record"] for message in outlet.messages}
    assert contents == {(1,): {"id": 1}, (2, 4): {"id": 1, "title": "milk"}, (3,): {"id": 1}}


async def test_a_row_that_leaves_a_filter_is_told_to_those_who_asked():
    hub, outlet = make_hub(), MemoryOutlet()
    member = joined(
        hub,
        outlet,
        Entry(1, ROW_KINDS, "public", "todos", title_is("milk"), leave=True),
        Entry(2, ROW_KINDS, "public", "todos", title_is("milk")),
        Entry(3, ROW_KINDS, "public", "todos", title_is("tea")),
    )
    await turn()
    update = change(transaction(100), on=TODOS, kind=Kind.UPDATE, values=(b"1", b"tea"))
    update.old_values = (b"1", b"milk")
    hub.publish(update, 50, now_s=0)
    hub.batch_done(now_s=0)
    told = [(message[4]["ids"], message[4]["data"].get("left")) for message in outlet.messages]
    assert told == [([3], None), ([1], True)]
    hub.leave(member)
    assert not hub._leaving


async def test_who_waits_for_postgres_keeps_its_order_and_holds_up_nobody():
    hub, asking, other = make_hub(), MemoryOutlet(), MemoryOutlet()
    answers: dict[bytes, bool] = {}
    hub.readers.ask = lambda _question, value: answers.get(value, PENDING)
    regex = (Condition("title", "match", ("^m",)),)
    member = joined(hub, asking, Entry(1, ROW_KINDS, "public", "todos", regex, asks=True), Entry(2, ROW_KINDS))
    joined(hub, other, Entry(1, ROW_KINDS))
    await turn()
    publish(hub, 100, 200)
    await turn()
    assert (asking.positions, len(other.positions)) == ([], 2)
    answers[b"milk"] = True
    hub.readers.serve_soon()
    await turn()
    assert [message[4]["ids"] for message in asking.messages] == [[1, 2], [1, 2]]
    assert asking.positions == [(100, 0), (200, 0)]
    assert member.reading is not None, "it is never level"
    hub.leave(member)
    assert hub.group_count == 1
