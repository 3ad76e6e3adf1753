"""Who gets what is published in a room, in which order, and what becomes of the slow."""

from __future__ import annotations

import json

import pytest
import structlog
from memory_outlet import MemoryOutlet

from fix_clock import Clock
from pgcast.engine.deliveries import FELL_BEHIND
from pgcast.engine.hold import Hold
from pgcast.engine.rooms import Member, RoomKey, Rooms
from pgcast.fanout.ring import RingBudget
from pgcast.frames.broadcast import Broadcast
from pgcast.frames.codec import serializer_for

KEY = RoomKey("t", is_private=False)
V1, V2 = serializer_for("1.0.0"), serializer_for("2.0.0")


class Rig:
    def __init__(self, clock: Clock, *, ring_bytes: int = 1 << 20, hold: Hold | None = None) -> None:
        self._clock = clock
        self.budget = RingBudget(1 << 20)
        self.rooms = Rooms(ring_bytes, self.budget, gap_s=0, hold=hold)

    def enter(self, key: RoomKey = KEY, *, vsn: str = "2.0.0", high_bytes: int | None = None) -> Member:
        return self.rooms.enter(key, MemoryOutlet(high_bytes=high_bytes), serializer_for(vsn))

    def publish(self, *numbers: int, key: RoomKey = KEY, skip: Member | None = None) -> list[int]:
        return [self.rooms.publish(key, text(number), skip=skip) for number in numbers]

    async def turn(self) -> None:
        await self._clock.advance(0.01, step_s=0.005)


@pytest.fixture
async def rig(clock: Clock) -> Rig:
    return Rig(clock)


def text(number: int) -> Broadcast:
    return Broadcast("", verbatim=json.dumps({"n": number}).encode())


def outlet(member: Member) -> MemoryOutlet:
    assert isinstance(member.outlet, MemoryOutlet)
    return member.outlet


def got(member: Member) -> list[int]:
    """The numbers that a member was sent, in order."""
    return [
        message["payload"]["n"] if isinstance(message, dict) else message[4]["n"] for message in outlet(member).messages
    ]


async def test_all_in_a_room_get_what_is_published_there_and_nobody_else(rig: Rig):
    new, old = rig.enter(), rig.enter(vsn="1.0.0")
    private, other = rig.enter(RoomKey("t", is_private=True)), rig.enter(RoomKey("u", is_private=False))
    assert rig.publish(1, 2) == [2, 2]
    await rig.turn()
    assert (got(new), got(old), got(private), got(other)) == ([1, 2], [1, 2], [], [])


async def test_a_message_to_nobody_is_taken_and_forgotten(rig: Rig):
    assert rig.publish(1) == [0]
    assert rig.rooms.pending_bytes == 0


async def test_a_tick_is_one_write(rig: Rig):
    member = rig.enter()
    rig.publish(1, 2, 3)
    await rig.turn()
    assert len(outlet(member).writes) == 1


async def test_the_sender_is_left_out_and_the_others_keep_their_order(rig: Rig):
    one, other, third = rig.enter(), rig.enter(), rig.enter(vsn="1.0.0")
    rig.publish(1, skip=one)
    rig.publish(2, skip=other)
    assert rig.publish(3, 4, skip=one) == [2, 2]
    rig.publish(5)
    await rig.turn()
    assert (got(one), got(other), got(third)) == ([2, 5], [1, 3, 4, 5], [1, 2, 3, 4, 5])


async def test_a_sender_that_is_alone_costs_nothing(rig: Rig):
    assert rig.publish(1, skip=rig.enter()) == [0]
    assert rig.rooms.pending_bytes == 0


async def test_who_enters_gets_what_is_published_from_then_on(rig: Rig):
    first = rig.enter()
    rig.publish(1)
    late = rig.enter()
    rig.publish(2)
    await rig.turn()
    assert (got(first), got(late)) == ([1, 2], [2])


async def test_who_has_left_gets_nothing_more(rig: Rig):
    stays, leaves = rig.enter(), rig.enter()
    rig.publish(1)
    rig.rooms.leave(leaves)
    rig.rooms.leave(leaves)
    await rig.turn()
    assert (got(stays), got(leaves)) == ([1], [])
    rig.rooms.leave(stays)
    assert (len(rig.rooms), rig.rooms.member_count) == (0, 0)


async def test_a_room_that_empties_with_something_pending_leaves_nothing_behind(rig: Rig):
    member = rig.enter()
    rig.publish(1)
    rig.rooms.leave(member)
    assert rig.rooms.pending_bytes == 0
    again = rig.enter()
    rig.publish(2)
    await rig.turn()
    assert got(again) == [2]


async def test_a_member_may_be_there_without_reading_broadcasts(rig: Rig):
    member = rig.rooms.enter(KEY, MemoryOutlet(), V2, reads_broadcasts=False)
    assert rig.publish(1) == [0]
    rig.rooms.let_read_broadcasts(member, is_allowed=True)
    rig.rooms.let_read_broadcasts(member, is_allowed=True)
    assert rig.publish(2) == [1]
    await rig.turn()
    rig.rooms.let_read_broadcasts(member, is_allowed=False)
    assert rig.publish(3) == [0]
    await rig.turn()
    assert got(member) == [2]


async def test_one_outlet_in_several_rooms_gets_one_write(rig: Rig):
    shared = MemoryOutlet()
    members = [rig.rooms.enter(RoomKey(topic, is_private=False), shared, V2) for topic in "ab"]
    alone = rig.enter(RoomKey("a", is_private=False))
    rig.publish(1, 2, key=members[0].room.key)
    rig.publish(3, key=members[1].room.key)
    rig.publish(4, key=members[1].room.key, skip=members[1])
    await rig.turn()
    assert len(shared.writes) == 1
    assert got(members[0]) == [1, 2, 3]
    assert got(alone) == [1, 2]


async def test_raw_bytes_reach_those_who_can_read_them(rig: Rig):
    new, old = rig.enter(), rig.enter(vsn="1.0.0")
    assert rig.rooms.publish(KEY, Broadcast("e", b"\xff", is_json=False)) == 1
    await rig.turn()
    assert outlet(new).messages == [b"\x04\x0a\x01\x00\x00realtime:te\xff"]
    assert outlet(old).messages == []


async def test_that_raw_bytes_were_lost_for_a_long_name_is_logged_now_and_then(rig: Rig):
    rig.enter()
    rig.enter(vsn="1.0.0")
    raw = Broadcast("e" * 256, b"x", is_json=False)
    with structlog.testing.capture_logs() as logs:
        assert [rig.rooms.publish(KEY, raw) for _ in range(3)] == [0, 0, 0]
    assert [line["event"] for line in logs] == [
        "a binary broadcast was not delivered: its topic or its event has more than 255 bytes"
    ]


async def test_a_flush_of_many_sockets_is_cut_and_skips_those_who_left_meanwhile(rig: Rig):
    members = [rig.enter() for _ in range(1500)]
    rig.publish(1)
    rig.rooms.flush_now()
    rig.publish(2)
    rig.rooms.leave(members[-1])
    late = rig.enter()
    await rig.turn()
    assert all(got(member) == [1, 2] for member in members[:-1])
    assert (got(members[-1]), got(late)) == ([], [])


async def test_a_slow_reader_is_served_from_the_ring_in_order_and_without_its_own(rig: Rig):
    slow, quick = rig.enter(high_bytes=10), rig.enter()
    rig.publish(1)
    await rig.turn()
    for number in range(2, 6):
        rig.publish(number)
        rig.publish(100 + number, skip=slow)
        await rig.turn()
    assert (got(slow), len(got(quick))) == ([1], 9)
    assert rig.budget.total_bytes > 0
    while got(slow)[-1] != 5:
        outlet(slow).drain()
        rig.rooms.resumed([slow])
    assert got(slow) == [1, 2, 3, 4, 5]
    outlet(slow).drain()
    rig.rooms.resumed([slow])
    assert rig.budget.total_bytes == 0
    rig.publish(6)
    await rig.turn()
    assert got(slow)[-1] == 6


async def test_who_is_passed_by_the_ring_is_cut_off_and_the_others_go_on(clock: Clock):
    rig = Rig(clock, ring_bytes=100)
    slow, quick = rig.enter(high_bytes=10), rig.enter()
    for number in range(8):
        rig.publish(number)
        await rig.turn()
    assert outlet(slow).closed == (1013, FELL_BEHIND)
    assert rig.rooms.cut_off == 1
    assert got(quick) == list(range(8))
    assert rig.budget.total_bytes == 0
    rig.rooms.leave(slow)
    assert rig.rooms.member_count == 1


async def test_what_one_that_was_cut_off_still_sends_reaches_all_others(clock: Clock):
    rig = Rig(clock, ring_bytes=100)
    slow, quick = rig.enter(high_bytes=10), rig.enter()
    for number in range(8):
        rig.publish(number)
        await rig.turn()
    assert outlet(slow).closed is not None
    assert rig.publish(8, skip=slow) == [1]
    await rig.turn()
    assert got(quick) == list(range(9))


async def test_who_resumes_too_late_is_cut_off(clock: Clock):
    rig = Rig(clock)
    slow, _ = rig.enter(high_bytes=10), rig.enter()
    rig.publish(1)
    await rig.turn()
    rig.publish(2)
    await rig.turn()
    rig.budget._limit_bytes = 0  # another room's ring takes all there is
    rig.rooms.publish(KEY, text(3))
    rig.rooms.flush_now()
    outlet(slow).drain()
    rig.rooms.resumed([slow])
    assert outlet(slow).closed is not None


async def test_a_slow_reader_in_several_rooms_misses_nothing_of_either(rig: Rig):
    shared = MemoryOutlet(high_bytes=1)
    keys = [RoomKey(topic, is_private=False) for topic in "ab"]
    members = [rig.rooms.enter(key, shared, V2) for key in keys]
    for number in range(6):
        rig.publish(number, key=keys[number % 2])
        rig.publish(100 + number, key=keys[0])
        await rig.turn()
    for _ in range(9):
        shared.drain()
        rig.rooms.resumed(members)
    numbers = got(members[0])
    assert sorted(numbers) == [*range(6), *range(100, 106)]
    assert [number for number in numbers if number >= 100] == list(range(100, 106))


async def test_much_at_once_says_that_it_is_full_until_it_is_written(rig: Rig):
    rig.enter()
    rig.rooms.publish(KEY, Broadcast("e", b"x" * (1 << 20), is_json=False))
    assert rig.rooms.is_full
    rig.rooms.flush_now()
    assert not rig.rooms.is_full


async def test_who_publishes_in_a_loop_waits_until_there_is_room(rig: Rig):
    members = [rig.enter() for _ in range(2500)]  # three slices
    for _ in range(20):
        rig.rooms.publish(KEY, Broadcast("e", b"x" * 100_000, is_json=False))
        if rig.rooms.is_full:
            await rig.rooms.have_room()
            assert not rig.rooms.is_full
    await rig.turn()
    assert {len(outlet(member).messages) for member in members} == {20}


async def test_a_flush_of_many_rooms_is_cut_too(rig: Rig):
    keys = [RoomKey(str(number), is_private=False) for number in range(1200)]
    members = [rig.enter(key) for key in keys]
    for number, key in enumerate(keys):
        rig.publish(number, key=key)
    rig.rooms.flush_now()
    rig.rooms.leave(members[-1])
    await rig.turn()
    assert [got(member) for member in members[:-1]] == [[number] for number in range(1199)]
    assert got(members[-1]) == []


async def test_an_untrack_of_who_is_not_there_is_nothing(rig: Rig):
    member = rig.enter()
    rig.rooms.untrack(member)
    rig.rooms.track(member, "ada", b"")
    rig.rooms.track(member, "ada", b"")
    rig.rooms.untrack(member)
    rig.rooms.untrack(member)
    await rig.turn()
    assert rig.rooms.differences == 0


async def test_the_stream_waits_until_the_fastest_keeps_up_but_only_for_what_came_from_it(clock: Clock):
    hold = Hold(30)
    rig = Rig(clock, hold=hold)
    slow, slower = rig.enter(high_bytes=10), rig.enter(high_bytes=10)
    for _ in range(3):
        rig.publish(1)
        await rig.turn()
    assert not hold.is_on
    rig.rooms.publish(KEY, text(2), holds=True)
    await rig.turn()
    assert hold.is_on
    for _ in range(9):
        outlet(slow).drain()
        rig.rooms.resumed([slow])
    assert not hold.is_on
    outlet(slow).is_paused = True
    rig.rooms.publish(KEY, text(3), holds=True)
    await rig.turn()
    assert hold.is_on
    rig.rooms.leave(slow)
    rig.rooms.leave(slower)
    assert not hold.is_on


# Presence


def events(member: Member) -> list[str]:
    return [message[3] for message in outlet(member).messages]


async def test_a_storm_of_joins_costs_one_state_and_one_difference_per_tick(rig: Rig):
    members = [rig.enter() for _ in range(50)]
    states = {id(rig.rooms.watch(member)) for member in members}
    for number, member in enumerate(members):
        rig.rooms.track(member, f"k{number}", b"")
    await rig.turn()
    assert len(states) == 1
    assert rig.rooms.differences == 1
    assert {len(outlet(member).writes) for member in members} == {1}
    assert {len(outlet(member).messages[0][4]["joins"]) for member in members} == {50}
    assert rig.rooms.watch(rig.enter())[0].count(b"phx_ref") == 50
    assert rig.rooms.presence_count == 50


async def test_a_change_that_nobody_watches_is_told_to_nobody_and_not_forgotten(rig: Rig):
    member = rig.enter()
    rig.rooms.track(member, "ada", b'"a":1')
    await rig.turn()
    assert events(member) == []
    assert b'"ada"' in rig.rooms.watch(member)[0]


async def test_who_does_not_watch_any_more_is_told_nothing(rig: Rig):
    member, other = rig.enter(), rig.enter()
    rig.rooms.watch(member)
    rig.rooms.unwatch(member)
    rig.rooms.unwatch(member)
    rig.rooms.track(other, "bob", b"")
    await rig.turn()
    assert events(member) == []


async def test_who_leaves_is_told_to_the_others_and_its_room_is_forgotten_with_the_last(rig: Rig):
    stays, leaves = rig.enter(), rig.enter()
    rig.rooms.watch(stays)
    rig.rooms.track(leaves, "bob", b"")
    await rig.turn()
    rig.rooms.leave(leaves)
    await rig.turn()
    assert list(outlet(stays).messages[-1][4]["leaves"]) == ["bob"]
    rig.rooms.track(stays, "ada", b"")
    rig.rooms.leave(stays)
    await rig.turn()
    assert len(rig.rooms) == 0
    assert rig.rooms.watch(rig.enter()) == (b"{}",)


async def test_presence_and_broadcasts_of_one_tick_are_one_write(rig: Rig):
    member = rig.enter()
    rig.rooms.watch(member)
    rig.publish(1)
    rig.rooms.track(member, "ada", b"")
    await rig.turn()
    assert len(outlet(member).writes) == 1
    assert sorted(events(member)) == ["broadcast", "presence_diff"]


async def test_the_same_name_with_another_privacy_is_another_room(rig: Rig):
    public, private = rig.enter(), rig.enter(RoomKey("t", is_private=True))
    rig.rooms.watch(public)
    rig.rooms.track(private, "ada", b"")
    await rig.turn()
    assert events(public) == []


async def test_a_change_that_cannot_be_told_breaks_its_own_room_alone(rig: Rig, capsys: pytest.CaptureFixture[str]):
    broken, sound = rig.enter(), rig.enter(RoomKey("u", is_private=False))
    for member in (broken, sound):
        rig.rooms.watch(member)
    for _ in range(2):
        rig.rooms.track(broken, "no text: \ud800", b"")
        rig.rooms.track(sound, "sound", b"")
        await rig.turn()
        assert events(sound)[-1] == "presence_diff"
        rig.rooms.untrack(broken)
        rig.rooms.untrack(sound)
    assert outlet(broken).closed is not None, "it missed a change, and must be told"
    assert outlet(sound).closed is None
    assert "could not be told" in capsys.readouterr().out
