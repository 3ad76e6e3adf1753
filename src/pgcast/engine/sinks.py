"""Those who take changes beside the clients: webhooks, and programs that carry the server inside.

A sink is handed each change it wants once per run, in commit order, and says what of it is not safe yet: the slot is
not confirmed beyond that, so that a crash brings it again. What it was handed by an earlier run may come again too; it
knows repeats by their position.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from pgcast.matching.index import Index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.matching.index import Entry
    from pgcast.model.change import Change
    from pgcast.model.lsn import Lsn

_LOOK_S = 0.05


class Sink(Protocol):
    """One taker of changes. Hashable by identity; called on the loop, and nothing in it waits or raises."""

    @property
    def entries(self) -> Sequence[Entry]:
        """What it wants; the same from `add` to `remove`, and nothing that Postgres has to be asked about."""
        ...

    def take(self, change: Change, ids: tuple[int, ...]) -> None:
        """Take a change over; `ids` are those of the entries that want it."""
        ...

    def commit(self) -> None:
        """Note that the transaction of the last change is complete; only called where it took one of it."""
        ...

    def break_off(self) -> None:
        """Note that the stream broke inside the transaction of the last change: the rest of it follows later."""
        ...

    def lost(self) -> None:
        """Note that changes were lost for everybody: the slot is new, or the database another one."""
        ...

    @property
    def unsafe_from(self) -> Lsn | None:
        """The commit LSN of the oldest transaction of which it has something that a crash would lose; None if none.

        A sink that falls behind holds the WAL up with it, so it must have a bound of its own.
        """
        ...

    @property
    def is_full(self) -> bool:
        """Whether reading the WAL should pause until it has room; it must not stay so for ever on its own account."""
        ...


class Sinks:
    """All sinks of a node.

    Attributes:
        is_used: Whether there is one.
        is_waiting: Whether reading the WAL pauses for one.
    """

    def __init__(self) -> None:
        self._index: Index[Sink] = Index()
        self._all: dict[Sink, None] = {}
        self._open: dict[Sink, None] = {}  # those that took something of the transaction that is being received
        self.is_used = False
        self.is_waiting = False
        self._room = asyncio.Event()

    def __bool__(self) -> bool:
        return self.is_used

    def add(self, sink: Sink) -> None:
        """Hand it what it wants of all changes from now on.

        Raises:
            ValueError: It wants what only Postgres can decide.
        """
        if any(entry.asks for entry in sink.entries):
            raise ValueError("a sink cannot have filters that Postgres has to be asked about")
        self._index.add(sink, sink.entries)
        self._all[sink] = None
        self.is_used = True

    def remove(self, sink: Sink) -> None:
        """Forget it; twice is safe."""
        if sink in self._all:
            del self._all[sink]
            self.is_used = bool(self._all)
            self._open.pop(sink, None)
            self._index.remove(sink, sink.entries)
            self._room.set()

    # fast path: per change, where there are sinks
    def take(self, change: Change) -> None:
        """Hand a change to those who want it."""
        for sink, ids in self._index.match(change):
            self._open[sink] = None
            sink.take(change, ids)

    def commit(self) -> None:
        """End the transaction for those who took something of it."""
        if self._open:
            for sink in self._open:
                sink.commit()
            self._open.clear()

    def break_off(self) -> None:
        """The stream broke."""
        for sink in self._open:
            sink.break_off()
        self._open.clear()

    def lost(self) -> None:
        """Changes were lost for everybody."""
        for sink in self._all:
            sink.lost()

    def limit(self, confirmable: Lsn) -> Lsn:
        """Return how much of what could be confirmed may be, as far as sinks are concerned."""
        for sink in self._all:
            at = sink.unsafe_from
            if at is not None:
                confirmable = min(confirmable, at)
        return confirmable

    def note_room(self) -> None:
        """Look again at once whether a sink is full; who does not say so is looked at every few milliseconds."""
        self._room.set()

    async def wait_for_room(self) -> None:
        """Return when no sink is full."""
        while any(sink.is_full for sink in self._all):
            self.is_waiting = True
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._room.wait()
        self.is_waiting = False
