from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from memory_outlet import MemoryOutlet

from pgcast.engine.groups import Group, Member, Signature
from pgcast.engine.hold import STALLED_S, Hold
from pgcast.fanout.ring import Ring, RingBudget
from pgcast.frames.codec import serializer_for

if TYPE_CHECKING:
    from fix_clock import Clock


def group_with_one_behind() -> tuple[Group, Member]:
    signature = Signature("2.0.0", "realtime:t", (), is_legacy=False)
    group = Group(signature, serializer_for("2.0.0"), Ring(1000, RingBudget(1000)))
    member = Member(MemoryOutlet(), group)
    group.behind[member] = None
    return group, member


async def test_a_group_with_nobody_level_holds_the_reading_until_one_is(clock: Clock):
    hold = Hold(30)
    group, _ = group_with_one_behind()
    hold.begin(group)
    assert hold.is_on
    waiting = asyncio.create_task(hold.wait())
    await clock.advance(STALLED_S / 2)
    assert not waiting.done()
    hold.release(group)
    await clock.settle()
    assert waiting.done()
    assert not hold.is_on


async def test_a_group_that_reads_the_window_holds_until_it_has_come_far_enough():
    hold = Hold(30)
    group, _ = group_with_one_behind()
    hold.begin(group, until=100)
    hold.passed(group, 99)
    assert hold.groups() == [group]
    hold.passed(group, 100)
    assert not hold.is_on


async def test_a_group_in_which_nobody_takes_a_byte_is_not_waited_for_again_until_it_recovers(clock: Clock):
    hold = Hold(30)
    group, _ = group_with_one_behind()
    hold.begin(group)
    waiting = asyncio.create_task(hold.wait())
    await clock.advance(STALLED_S + 0.2)
    assert waiting.done()
    hold.begin(group)
    assert not hold.is_on
    hold.release(group)
    hold.begin(group)
    assert hold.is_on


async def test_a_crawling_client_holds_the_others_up_for_the_limit_and_no_longer(clock: Clock):
    hold = Hold(3)
    group, member = group_with_one_behind()
    hold.begin(group)
    waiting = asyncio.create_task(hold.wait())
    for _ in range(5):
        member.cursor += 1
        await clock.advance(0.5)
        assert not waiting.done()
    for _ in range(2):
        member.cursor += 1
        await clock.advance(0.5)
    assert waiting.done()


async def test_each_group_is_waited_for(clock: Clock):
    hold = Hold(30)
    (one, _), (other, _) = group_with_one_behind(), group_with_one_behind()
    hold.begin(one)
    hold.begin(other)
    waiting = asyncio.create_task(hold.wait())
    await clock.settle()
    hold.release(one)
    await clock.settle()
    assert not waiting.done()
    hold.release(other)
    await clock.settle()
    assert waiting.done()
