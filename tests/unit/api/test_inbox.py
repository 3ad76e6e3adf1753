"""An inbox: in order, bounded, and honest about what is not done yet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from making import change, transaction
from memory_source import MemoryCatalog

from pgcast.api.inbox import Inbox
from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.lsn import NO_LSN, Lsn

ALL = Entry(1, ROW_KINDS)


@dataclass(eq=False)
class Held:
    commit_lsn: Lsn
    is_done: bool = False


class Rooms:
    """Counts how often there was room again."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def make(*entries: Entry, keeps_all: bool = True, room: Rooms | None = None, **more: int) -> Inbox:
    return Inbox(
        entries or (ALL,),
        MemoryCatalog(),
        keeps_all=keeps_all,
        when_room=room or Rooms(),
        **more,  # type: ignore[arg-type]
    )


def give(inbox: Inbox, *lsns: int) -> None:
    for lsn in lsns:
        inbox.take(change(transaction(lsn)), (1,))


async def lsns(inbox: Inbox, count: int) -> list[int | None]:
    async with asyncio.timeout(5):
        got = [await inbox.read() for _ in range(count)]
    return [one and one.transaction.commit_lsn for one in got]


async def test_changes_are_read_in_order_and_waited_for():
    inbox = make()
    give(inbox, 10, 20)
    reading = asyncio.create_task(lsns(inbox, 3))
    await asyncio.sleep(0)
    give(inbox, 30)
    assert await reading == [10, 20, 30]


async def test_the_oldest_that_is_not_done_is_not_safe():
    inbox = make()
    assert inbox.unsafe_from is None
    give(inbox, 10, 20, 30)
    assert inbox.unsafe_from == 10
    first, second = Held(Lsn(10)), Held(Lsn(20))
    for held in (first, second):
        await inbox.read()
        inbox.hand_over(held)
    assert (inbox.unsafe_from, inbox.unfinished) == (10, 2)
    second.is_done = True
    assert inbox.unsafe_from == 10
    first.is_done = True
    assert (inbox.unsafe_from, inbox.unfinished) == (30, 0), "what waits is not safe either"
    await inbox.read()
    assert inbox.unsafe_from is None


async def test_when_it_is_full_reading_pauses_until_half_of_it_is_read():
    room = Rooms()
    inbox = make(room=room, max_changes=4)
    give(inbox, 10, 20, 30)
    assert not inbox.is_full
    give(inbox, 40)
    assert inbox.is_full
    await lsns(inbox, 1)
    assert inbox.is_full
    await lsns(inbox, 1)
    assert not inbox.is_full
    assert room.count == 1


async def test_it_is_full_by_bytes_too():
    inbox = make(max_bytes=10)
    give(inbox, 10)
    assert not inbox.is_full
    give(inbox, 20)
    assert inbox.is_full


async def test_one_that_does_not_keep_all_passes_over_what_comes_while_it_is_full():
    inbox = make(keeps_all=False, max_changes=2)
    give(inbox, 10, 20, 30, 40)
    assert not inbox.is_full, "nobody waits for it"
    assert inbox.unsafe_from is None, "and nothing is kept for it"
    assert await lsns(inbox, 3) == [10, 20, None]
    give(inbox, 50)
    assert await lsns(inbox, 1) == [50]


async def test_a_gap_comes_behind_what_was_taken_and_nothing_is_safe_until_it_was_told():
    inbox = make()
    give(inbox, 10)
    inbox.lost()
    inbox.lost()
    give(inbox, 5)
    await inbox.read()
    inbox.hand_over(Held(Lsn(10)))
    assert inbox.unsafe_from == NO_LSN
    assert await lsns(inbox, 1) == [None]
    assert inbox.unfinished == 0, "a slot that is gone brings nothing again"
    assert inbox.unsafe_from == 5
    assert await lsns(inbox, 1) == [5]


async def test_breaks_and_commits_change_nothing():
    inbox = make()
    give(inbox, 10)
    inbox.break_off()
    inbox.commit()
    give(inbox, 20)
    assert await lsns(inbox, 2) == [10, 20]


async def test_more_can_be_read_without_waiting():
    inbox = make()
    assert inbox.read_now() is None
    give(inbox, 10, 20)
    assert inbox.read_now() is None, "after so long others come first"
    inbox.lost()
    assert await lsns(inbox, 1) == [10]
    one = inbox.read_now()
    assert one is not None
    assert one.transaction.commit_lsn == 20
    assert inbox.read_now() is None, "a gap is not read by the way"


async def test_two_readers_are_one_too_many_and_a_cancelled_one_leaves_no_trace():
    inbox = make()
    first = asyncio.create_task(inbox.read())
    await asyncio.sleep(0.01)
    with pytest.raises(RuntimeError, match="two tasks"):
        await inbox.read()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    give(inbox, 10)
    assert await lsns(inbox, 1) == [10]


async def test_closing_ends_the_wait_and_all_that_follows():
    inbox = make()
    waiting = asyncio.create_task(inbox.read())
    await asyncio.sleep(0.01)
    await inbox.close()
    await inbox.close()
    for reading in (waiting, inbox.read(), inbox.wait_until(lambda: False)):
        with pytest.raises(StopAsyncIteration):
            await reading
    assert inbox.is_closed


async def test_a_condition_is_waited_for():
    inbox = make()
    is_so = []
    waiting = asyncio.create_task(inbox.wait_until(lambda: bool(is_so)))
    await asyncio.sleep(0.01)
    inbox.wake()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    is_so.append(1)
    inbox.wake()
    await waiting


async def test_a_reader_that_never_waits_lets_others_run():
    inbox = make(max_changes=1_000_000)
    give(inbox, *range(1, 200_000))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    for _ in range(199_999):
        await inbox.read()
    task.cancel()
    assert turns > 3


class Judge(MemoryCatalog):
    """Says yes to what contains an x, once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def decide(self, question, values):
        del question
        await self.may_answer.wait()
        return [value is not None and b"x" in value for value in values]


async def test_what_only_postgres_can_decide_is_taken_unseen_and_waited_for():
    judge = Judge()
    asking = Entry(1, ROW_KINDS, conditions=(Condition("title", "match", ("x",)),), asks=True)
    inbox = Inbox([asking], judge, keeps_all=True, when_room=Rooms())
    assert inbox.entries == [replace(asking, conditions=(), asks=False)]
    for lsn, title in ((10, b"no"), (20, b"x"), (30, b"xx")):
        inbox.take(change(transaction(lsn), values=(b"1", title)), (1,))
    assert inbox.read_now() is None
    reading = asyncio.create_task(lsns(inbox, 2))
    await asyncio.sleep(0.01)
    assert not reading.done()
    judge.may_answer.set()
    assert await reading == [20, 30]
    assert inbox.unsafe_from is None
    await inbox.close()
