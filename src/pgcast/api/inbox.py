"""What waits for one consumer: filled by the replication stream, emptied at the consumer's pace, bounded.

It is a sink: the slot is not confirmed beyond the oldest change that is not done yet. When it is full, either reading
the WAL pauses, or, where the stream has others to serve, what comes is passed over and the consumer is told of the gap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from pgcast.engine.decisions import Decisions
from pgcast.matching.scan import Scan
from pgcast.model.lsn import NO_LSN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgcast.engine.ports import Catalog
    from pgcast.matching.index import Entry
    from pgcast.model.change import Change
    from pgcast.model.lsn import Lsn

_MAX_CHANGES: Final = 4_000
_MAX_BYTES: Final = 4 << 20
_TURN_S: Final = 0.005


class Held(Protocol):
    """What was handed over."""

    @property
    def is_done(self) -> bool:
        """Whether the consumer is done with it."""
        ...

    @property
    def commit_lsn(self) -> Lsn:
        """Of its transaction."""
        ...


class Inbox:
    """The changes that wait for one consumer, and those that it is not done with. Belongs to one event loop.

    Args:
        entries: What it wants.
        catalog: Asked about filters that only Postgres can decide.
        keeps_all: Whether reading pauses while it is full; otherwise what comes then is passed over, with a gap.
        when_room: Called when it is not full any more.

    Attributes:
        is_closed: Whether nothing more comes.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        catalog: Catalog,
        *,
        keeps_all: bool,
        when_room: Callable[[], None],
        max_changes: int = _MAX_CHANGES,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        # Those that only Postgres can decide are taken unseen, and decided when they are read.
        self.entries = [replace(entry, conditions=(), asks=False) if entry.asks else entry for entry in entries]
        self.is_closed = False
        self._decisions: Decisions | None = None
        self._scan: Scan | None = None
        if any(entry.asks for entry in entries):
            self._decisions = Decisions(catalog, self.wake)
            self._scan = Scan(entries, self._decisions)
        self._keeps_all = keeps_all
        self._when_room = when_room
        self._max_changes = max_changes
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Change | None, int]] = deque()  # with its size; None for a gap
        self._size_bytes = 0
        self._is_full = False
        self._gaps = 0
        self._unfinished: deque[Held] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._turn_ends_s = 0.0

    # As a sink

    # fast path: per change
    def take(self, change: Change, ids: tuple[int, ...]) -> None:
        """Take a change over."""
        del ids
        if self._is_full and not self._keeps_all:
            self._tell_gap()
            return
        size = len(change.record or b"") + len(change.old_record or b"")
        self._waiting.append((change, size))
        self._size_bytes += size
        if len(self._waiting) >= self._max_changes or self._size_bytes >= self._max_bytes:
            self._is_full = True
        if self._waiter is not None:
            self.wake()

    def commit(self) -> None:
        """Note that a transaction is complete: nothing depends on it."""

    def break_off(self) -> None:
        """Note that the stream broke: the rest of the transaction follows, without what was taken."""

    def lost(self) -> None:
        """Have the consumer told that changes were lost, behind those that it has still to read."""
        self._tell_gap()

    @property
    def is_full(self) -> bool:
        """Whether reading the WAL should pause."""
        return self._is_full and self._keeps_all

    @property
    def unsafe_from(self) -> Lsn | None:
        """The commit LSN of the oldest change that is not done; nothing counts as safe while a gap was not told."""
        if not self._keeps_all:
            return None
        if self._gaps:
            return NO_LSN
        self._forget_done()
        if self._unfinished:
            return self._unfinished[0].commit_lsn
        change = self._waiting[0][0] if self._waiting else None
        return None if change is None else change.transaction.commit_lsn

    # As the consumer sees it

    # fast path: per change
    def read_now(self) -> Change | None:
        """Return the next change if that takes no waiting; None if it does, or if others should have their turn."""
        if not self._waiting or self._scan is not None or self._loop.time() > self._turn_ends_s or self.is_closed:
            return None
        change, size = self._waiting[0]
        if change is not None:
            self._waiting.popleft()
            self._size_bytes -= size
            if self._is_full:
                self._make_room()
        return change

    async def read(self) -> Change | None:
        """Return the next change, or None where changes were lost before the next one.

        Raises:
            StopAsyncIteration: It is closed.
            RuntimeError: Somebody else is reading.
        """
        if self.is_closed:
            raise StopAsyncIteration
        if self._loop.time() > self._turn_ends_s:
            # A consumer that never waits would keep the loop from everybody else.
            await asyncio.sleep(0)
            self._turn_ends_s = self._loop.time() + _TURN_S
        while True:
            while not self._waiting:
                await self._wait()
            change = self._waiting[0][0]
            if self._scan is not None and change is not None:
                found = self._scan.match(change, _may_want)
                if found is None:
                    await self._wait()
                    continue
                if not found.ids:
                    self._pop()
                    continue
            self._pop()
            return change

    # fast path: per change
    def hand_over(self, held: Held) -> None:
        """Note that a change is with the consumer from now on."""
        unfinished = self._unfinished
        while unfinished and unfinished[0].is_done:
            unfinished.popleft()
        unfinished.append(held)

    @property
    def unfinished(self) -> int:
        """How many changes the consumer is not done with, from the oldest one on."""
        self._forget_done()
        return len(self._unfinished)

    def wake(self) -> None:
        """Have whoever waits look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something else is so, looking again whenever somebody says `wake`.

        Raises:
            StopAsyncIteration: It is closed.
        """
        while not is_so():
            await self._wait()

    async def close(self) -> None:
        """Bring nothing more; who waits is told. Twice is safe."""
        self.is_closed = True
        self.wake()
        if self._decisions is not None:
            await self._decisions.close()

    # Inside

    async def _wait(self) -> None:
        if self.is_closed:
            raise StopAsyncIteration
        if self._waiter is not None:
            raise RuntimeError("two tasks read the same changes; open a listener for each, or hand changes on")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._turn_ends_s = self._loop.time() + _TURN_S
        if self.is_closed:
            raise StopAsyncIteration

    def _tell_gap(self) -> None:
        if not self._waiting or self._waiting[-1][0] is not None:
            self._waiting.append((None, 0))
            self._gaps += 1
        self.wake()

    def _pop(self) -> None:
        change, size = self._waiting.popleft()
        self._size_bytes -= size
        if change is None:
            self._gaps -= 1
            # What came before a gap cannot be brought again by the slot that came after it.
            self._unfinished.clear()
        if self._is_full:
            self._make_room()

    def _make_room(self) -> None:
        if len(self._waiting) <= self._max_changes // 2 and self._size_bytes <= self._max_bytes // 2:
            self._is_full = False
            self._when_room()

    def _forget_done(self) -> None:
        unfinished = self._unfinished
        while unfinished and unfinished[0].is_done:
            unfinished.popleft()


def _may_want(entry: Entry) -> bool:
    del entry
    return True
