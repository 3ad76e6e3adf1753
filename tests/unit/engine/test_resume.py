"""Readers of the window: each at its own pace, until it is level or has been overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from making import change, table, transaction
from memory_outlet import MemoryOutlet

from fix_clock import Clock
from pgcast.changes.payload import Payloads
from pgcast.engine.decisions import Decisions
from pgcast.engine.groups import Group, Member, Reading, Signature
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.resume import FELL_OUT, Readers
from pgcast.engine.sights import Sights
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.fanout.window import Window
from pgcast.frames.codec import serializer_for
from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind
from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.model.sight import Sight
from pgcast.model.snapshot import Snapshot

TODOS, USERS = table("todos"), table("users", with_oid=2)
TO_TODOS = Entry(1, ROW_KINDS, "public", "todos")
TO_ALL = Entry(2, ROW_KINDS)


class Rig:
    def __init__(self, *, window_bytes: int = 1 << 20) -> None:
        self.window = Window(window_bytes, 60)
        self.readers = Readers(self.window, Payloads(), Sights(), as_text=False)
        self.level: list[Member] = []
        self.readers.when_level = self.level.append
        self.readers.when_served = lambda: None

    def commit(self, *commits: int, on: object = TODOS, kind: Kind = Kind.INSERT, count: int = 1) -> None:
        for commit_lsn in commits:
            one = transaction(commit_lsn)
            for index in range(count):
                self.window.append(change(one, index, on=on, kind=kind), 50, now_s=0)  # type: ignore[arg-type]
            self.window.commit(Lsn(commit_lsn + 5))

    def start(self, *entries: Entry, at: int = 0, is_legacy: bool = False, **reading: object) -> Member:
        signature = Signature("2.0.0", "realtime:t", entries or (TO_ALL,), is_legacy=is_legacy)
        group = Group(signature, serializer_for("2.0.0"), Ring(1000, RingBudget(1000)))
        member = Member(MemoryOutlet(), group)
        self.readers.start(member, Reading(at, **reading))  # type: ignore[arg-type]
        return member


async def test_a_reader_gets_the_past_that_it_wants_and_is_level_then(clock: Clock):
    rig = Rig()
    rig.commit(100, 200, 300)
    member = rig.start(at=1)
    await clock.settle()
    assert member.outlet.positions == [(200, 0), (300, 0)]
    assert rig.level == [member]
    assert len(rig.readers) == 0


async def test_bindings_are_matched_again_and_a_message_names_those_that_match(clock: Clock):
    rig = Rig()
    rig.commit(100, on=USERS)
    rig.commit(200, on=TODOS)
    member = rig.start(TO_TODOS, TO_ALL)
    await clock.settle()
    assert [message[4]["ids"] for message in member.outlet.messages] == [[2], [1, 2]]


async def test_of_a_long_past_a_reader_looks_only_at_what_its_filter_may_want(clock: Clock):
    rig = Rig(window_bytes=1 << 30)
    rig.commit(100, count=2500)
    wanted = rig.window.changes_from(700, 1)[0], rig.window.changes_from(1900, 1)[0]
    for one in wanted:
        one.values = (b"1", b"tea")
    looked_at = []
    tea = replace(TO_TODOS, conditions=(Condition("title", "eq", ("tea",)),))
    readers = [rig.start(tea, rules={1: lambda one: looked_at.append(one) or True}) for _ in range(10)]
    await clock.settle()
    assert rig.level == readers
    assert [member.outlet.positions for member in readers] == [[(100, 700), (100, 1900)]] * 10
    # The newest 500 are looked up as well, for so many readers.
    assert sorted(one.index for one in looked_at) == sorted([700, 1900] * 10)


async def test_a_rule_that_learns_from_all_changes_sees_all(clock: Clock):
    rig = Rig(window_bytes=1 << 30)
    rig.commit(100, count=2500)
    seen = []
    tea = replace(TO_TODOS, conditions=(Condition("title", "eq", ("tea",)),))
    rig.start(tea, rules={1: lambda one: seen.append(one.index) or True}, sees_all=True)
    await clock.settle()
    assert seen == list(range(2500))


async def test_of_a_role_that_gets_errors_the_filter_is_not_asked_in_the_past_either(clock: Clock):
    rig = Rig(window_bytes=1 << 30)
    rig.readers._sights.roles["web"] = None
    rig.readers._sights.take(1, [1], ["web"], {"web": {1: Sight(frozenset({"title"}), is_secured=False)}})
    rig.commit(100, count=2000)
    tea = replace(TO_TODOS, conditions=(Condition("title", "eq", ("tea",)),))
    signature = Signature("2.0.0", "realtime:t", (tea,), is_legacy=False, role="web")
    member = Member(MemoryOutlet(), Group(signature, serializer_for("2.0.0"), Ring(1000, RingBudget(1000))))
    rig.readers.start(member, Reading(0))
    await clock.settle()
    assert len(member.outlet.messages) == 2000


async def test_a_rule_limits_the_past_of_one_binding_alone(clock: Clock):
    rig = Rig()
    rig.commit(100, 200)
    member = rig.start(TO_TODOS, TO_ALL, rules={1: lambda one: one.transaction.commit_lsn > 100})
    await clock.settle()
    assert [message[4]["ids"] for message in member.outlet.messages] == [[2], [1, 2]]


async def test_a_reader_is_not_level_before_the_stream_has_passed_its_join(clock: Clock):
    rig = Rig()
    rig.commit(100)
    member = rig.start(until=Lsn(250))
    await clock.settle()
    assert rig.level == []
    rig.commit(200)
    rig.readers.passed(Lsn(300))
    await clock.settle()
    assert member.outlet.positions == [(100, 0), (200, 0)]
    assert rig.level == [member]


async def test_a_reader_is_not_level_while_its_group_has_something_pending(clock: Clock):
    rig = Rig()
    member = rig.start()
    member.group.pending.append(b"a frame that is also in the window")
    await clock.settle()
    assert rig.level == []
    member.group.pending.clear()
    rig.readers.serve()
    assert rig.level == [member]


async def test_a_paused_reader_waits_and_delays_nobody(clock: Clock):
    rig = Rig()
    rig.commit(100)
    slow, quick = rig.start(), rig.start()
    slow.outlet.is_paused = True
    await clock.settle()
    assert slow.outlet.positions == []
    assert quick.outlet.positions == [(100, 0)]
    slow.outlet.is_paused = False
    rig.readers.serve_soon()
    await clock.settle()
    assert slow.outlet.positions == [(100, 0)]


async def test_a_reader_that_the_window_has_overtaken_is_closed_such_that_it_can_resume(clock: Clock):
    rig = Rig(window_bytes=1000)
    rig.commit(*range(100, 2000, 100))
    rig.window.trim(now_s=0)
    member = rig.start(at=0)
    await clock.settle()
    assert member.outlet.closed == (1013, FELL_OUT)
    assert member.outlet.writes == []
    assert len(rig.readers) == 0


async def test_a_long_past_is_written_in_pieces(clock: Clock):
    rig = Rig()
    rig.commit(100, count=1000)
    member = rig.start()
    await clock.settle()
    assert len(member.outlet.positions) == 1000
    assert len(member.outlet.writes) == 5


async def test_a_stopped_reader_gets_nothing_more(clock: Clock):
    rig = Rig()
    rig.commit(100)
    member = rig.start()
    rig.readers.stop(member)
    rig.readers.stop(member)
    await clock.settle()
    assert member.outlet.writes == []
    assert member.group.is_empty


async def test_the_oldest_protocol_gets_its_own_payload(clock: Clock):
    rig = Rig()
    rig.commit(100)
    member = rig.start(TO_ALL, is_legacy=True, until=NO_LSN)
    await clock.settle()
    (message,) = member.outlet.messages
    assert (message[3], message[4]["record"]) == ("INSERT", {"id": 1})


class Judge:
    """Says that everything matches, once it is let."""

    def __init__(self) -> None:
        self.asked: list[list[bytes | None]] = []
        self.may_answer = asyncio.Event()

    async def decide(self, _: object, values: Sequence[bytes | None]) -> list[bool]:
        self.asked.append(list(values))
        await self.may_answer.wait()
        return [True] * len(values)


REGEX = (Condition("title", "match", ("^m",)),)
ASKS = Entry(1, ROW_KINDS, "public", "todos", REGEX, asks=True)


def joined_to(member: Member, rig: Rig, **reading: object) -> Member:
    """One more member of the same group."""
    other = Member(MemoryOutlet(), member.group)
    rig.readers.start(other, Reading(0, **reading))  # type: ignore[arg-type]
    return other


async def test_what_many_ask_is_asked_once_for_all_the_changes_of_a_batch(clock: Clock):
    rig, judge = Rig(), Judge()
    rig.readers.ask = Decisions(judge, rig.readers.serve_soon)  # type: ignore[arg-type]
    for commit_lsn, title in ((100, b"milk"), (200, b"tea"), (300, b"milk")):
        rig.window.append(change(transaction(commit_lsn), on=TODOS, values=(b"1", title)), 50, now_s=0)
    first, others = rig.start(ASKS), [rig.start(ASKS), rig.start(replace(ASKS, id=2))]
    others += [joined_to(first, rig), joined_to(first, rig, rules={1: lambda _: True})]
    await clock.settle()
    assert judge.asked == [[b"milk", b"tea"]]
    assert first.outlet.positions == []
    judge.may_answer.set()
    await clock.settle()
    assert len(judge.asked) == 1
    assert [one.outlet.positions for one in (first, *others)] == [[(100, 0), (200, 0), (300, 0)]] * 5
    assert rig.level == []
    await rig.readers.ask.close()


async def test_members_that_come_to_the_same_place_share_what_the_first_has_read(clock: Clock):
    rig = Rig()
    asked: list[bytes] = []

    def ask(_: object, value: bytes) -> bool:
        asked.append(value)
        return True

    rig.readers.ask = ask
    first = rig.start(ASKS)
    second = joined_to(first, rig)
    other = joined_to(first, rig, rules={1: lambda one: one.transaction.commit_lsn > 100}, until=Lsn(150))
    rig.commit(100)
    rig.readers.passed(Lsn(105))
    await clock.settle()
    assert asked == [b"milk"]
    assert (first.outlet.positions, second.outlet.positions, other.outlet.positions) == ([(100, 0)], [(100, 0)], [])
    rig.commit(200)
    rig.readers.passed(Lsn(205))
    await clock.settle()
    assert asked == [b"milk"] * 3  # once for itself, for its rules may say otherwise
    rig.commit(300)
    rig.readers.passed(Lsn(305))
    await clock.settle()
    assert asked == [b"milk"] * 4  # the rules are behind it
    assert other.outlet.positions == [(200, 0), (300, 0)]
    assert second.outlet.positions == first.outlet.positions == [(100, 0), (200, 0), (300, 0)]


async def test_a_snapshot_counts_only_until_the_stream_has_passed_it(clock: Clock):
    rig = Rig()
    rig.readers.ask = lambda _question, _value: True
    snapshot = Snapshot(100, 100, frozenset(), Lsn(10))
    member = rig.start(ASKS, rules={1: lambda one: not snapshot.sees(one.transaction.xid)}, until=Lsn(10))
    rig.readers.passed(Lsn(20))
    await clock.settle()
    # So many transactions later the snapshot would take a new one for one of its past.
    late = transaction(100, xid=(100 + (1 << 31) + 1) % (1 << 32))
    assert snapshot.sees(late.xid)
    rig.window.append(change(late, on=TODOS), 50, now_s=0)
    rig.readers.serve_soon()
    await clock.settle()
    assert member.outlet.positions == [(100, 0)]


async def test_what_concerns_a_table_is_all_that_those_who_ask_look_at(clock: Clock):
    """Else what a change costs would grow with the filters on other tables, and a long pause be the end of them."""
    hub, outlet = Hub(Payloads(), HubLimits(window_bytes=20_000)), MemoryOutlet()
    asked: list[bytes] = []

    def ask(_question: object, value: bytes) -> bool:
        asked.append(value)
        return True

    hub.readers.ask = ask
    hub.publish(change(transaction(100), on=TODOS), 50, now_s=0)
    hub.publish(change(transaction(200), on=USERS), 50, now_s=0)
    signature = Signature("2.0.0", "realtime:t", (replace(ASKS, table="todos"),), is_legacy=False)
    member = hub.join(outlet, signature, serializer_for("2.0.0"), Reading(0))
    await clock.settle()
    assert outlet.positions == [(100, 0)]
    outlet.is_paused = True
    for number in range(300, 400):
        hub.publish(change(transaction(number), on=USERS), 50, now_s=0)
        hub.commit(Lsn(number + 1))
    hub.batch_done(clock.now_s)
    assert hub.window.start > 0
    assert not hub.is_holding
    outlet.is_paused = False
    hub.publish(change(transaction(400), on=TODOS), 50, now_s=0)
    hub.batch_done(clock.now_s)
    await clock.settle()
    assert outlet.positions == [(100, 0), (400, 0)]
    assert asked == [b"milk"] * 2
    assert outlet.closed is None
    hub.leave(member)
    hub.publish(change(transaction(500), on=TODOS), 50, now_s=0)


async def test_a_snapshot_of_another_history_counts_for_nothing(clock: Clock):
    rig = Rig()
    rig.readers.passed(Lsn(900))
    snapshot = Snapshot(1000, 1000, frozenset(), Lsn(950))
    member = rig.start(TO_TODOS, rules={1: lambda one: not snapshot.sees(one.transaction.xid)}, until=Lsn(950))
    rig.readers.restart()
    rig.commit(100)
    rig.readers.passed(Lsn(105))
    await clock.settle()
    assert member.outlet.positions == [(100, 0)]
    assert rig.level == [member]
    assert rig.readers.passed_lsn == 105


async def test_what_was_rendered_with_other_rights_is_not_shared():
    hub, first, second = Hub(Payloads(), HubLimits()), MemoryOutlet(), MemoryOutlet()
    hub.sights.roles["anon"] = None
    hub.sights.take(1, [1], ["anon"], {"anon": {1: Sight()}})
    hub.publish(change(transaction(100), on=table()), 50, now_s=0)
    signature = Signature("2.0.0", "realtime:t", (Entry(1, ROW_KINDS),), is_legacy=False, role="anon")
    for outlet, columns in ((first, ["id", "title"]), (second, ["id"])):
        hub.sights.take(2 if outlet is second else 1, [1], ["anon"], {"anon": {1: Sight(frozenset(columns))}})
        hub.join(outlet, signature, serializer_for("2.0.0"), Reading(0, until=Lsn(1000)))
        hub.readers.serve()
        (message,) = outlet.messages
        assert [column["name"] for column in message[4]["data"]["columns"]] == columns
