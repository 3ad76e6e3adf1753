"""A database in memory: the replication stream that a test writes, the catalog's answers, and who watches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from making import INT8, TEXT
from pgoutput import TODOS_OID

from pgcast.changes.oids import builtin_shape
from pgcast.engine.ports import Database, Observation, PublishedTable, StreamStart
from pgcast.model.errors import StreamEnded
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Table
from pgcast.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.model.relation import Relation, TypeShape


class MemorySource:
    """A replication stream of what a test puts into it; errors put into it are raised where a stream would raise.

    Attributes:
        refusals: Raised by the next calls of `open`, one each.
        next_start: What the next stream says of itself.
        opened_after: The position that each opened stream was asked to start after.
        statuses: The status updates, `(received, flushed, reply_requested)`.
        drops: How often the slot was dropped.
        drop_failure: Raised instead, while there is one.
    """

    def __init__(self) -> None:
        self.refusals: list[Exception] = []
        self.next_start = {"slot_created": True, "confirmed_lsn": Lsn(50), "system_identifier": "7"}
        self.opened_after: list[int] = []
        self.statuses: list[tuple[int, int, bool]] = []
        self.is_open = False
        self.drops = 0
        self.drop_failure: Exception | None = None
        self._is_reading = False
        self._batches: asyncio.Queue[list[bytes] | Exception] = asyncio.Queue()

    def send(self, *batch: bytes) -> None:
        """Let these envelopes arrive together."""
        self._batches.put_nowait(list(batch))

    def break_off(self, error: Exception) -> None:
        """Let the connection break after what was sent."""
        self._batches.put_nowait(error)

    async def open(self, after: Lsn) -> StreamStart:
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened_after.append(after)
        self.is_open = True
        start = StreamStart(database="5", server_version=180_004, slot="s", **self.next_start)  # type: ignore[arg-type]
        self.next_start = {**self.next_start, "slot_created": False}
        return start

    async def read(self) -> Sequence[bytes]:
        self._is_reading = True
        batch = await self._batches.get()
        self._is_reading = False
        if isinstance(batch, Exception):
            raise batch
        return batch

    def send_status(self, received: Lsn, flushed: Lsn, *, reply_requested: bool = False) -> None:
        self.statuses.append((received, flushed, reply_requested))

    async def drop_slot(self) -> None:
        assert not self.is_open, "a slot that is read cannot be dropped"
        if self.drop_failure is not None:
            raise self.drop_failure
        self.drops += 1
        self.refusals.clear()
        self.next_start = {**self.next_start, "slot_created": True}

    async def close(self) -> None:
        self.is_open = False
        if self._is_reading:
            self._is_reading = False
            self.break_off(StreamEnded("closed"))


class MemoryCatalog:
    """A catalog that knows `public.todos (id int8, title text)`.

    Attributes:
        seen: The snapshot that it answers with.
        failure: Raised by every question, while there is one.
        is_silent: Nothing is answered, until it is set to False.
    """

    def __init__(self) -> None:
        self.seen = Snapshot(1, 1, frozenset(), Lsn(0))
        self.failure: Exception | None = None
        self.is_silent = False
        self.is_closed = False
        self.described: list[str] = []

    async def describe(self, relation: Relation) -> Table:
        self.described.append(relation.name)
        shapes = [builtin_shape(column.type_oid) for column in relation.columns]
        return Table(relation, tuple(shape for shape in shapes if shape is not None), (0,))

    async def snapshot(self) -> Snapshot:
        await self._answer()
        return self.seen

    async def published_tables(self, *, is_fresh: bool = False) -> Sequence[PublishedTable]:
        del is_fresh
        await self._answer()
        return [PublishedTable(TODOS_OID, "public", "todos", (("id", INT8), ("title", TEXT)))]

    async def canonical_text(self, type_shape: TypeShape, text: str) -> bytes:
        raise AssertionError(f"{type_shape.name} {text!r} is canonical without the database")

    async def close(self) -> None:
        self.is_closed = True

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        if self.is_silent:
            await asyncio.Event().wait()


class MemoryObserver:
    """An observer that sees what a test lets it see.

    Attributes:
        seen: What it sees.
        failure: Raised instead, while there is one.
    """

    def __init__(self) -> None:
        self.seen = Observation(
            has_slot=True,
            lag_bytes=0,
            retained_bytes=0,
            wal_status="reserved",
            is_lost=False,
            publications={"p": 1},
            is_standby=False,
        )
        self.failure: Exception | None = None
        self.is_closed = False

    async def look(self) -> Observation:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return self.seen

    async def close(self) -> None:
        self.is_closed = True


def memory_database(
    source: MemorySource | None = None, catalog: MemoryCatalog | None = None, observer: MemoryObserver | None = None
) -> Database:
    return Database(source or MemorySource(), catalog or MemoryCatalog(), observer or MemoryObserver(), ("p",))
