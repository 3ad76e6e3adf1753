"""A database in memory: the replication stream that a test writes, and the catalog's answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from making import INT8, TEXT
from pgoutput import TODOS_OID

from pgcast.changes.oids import builtin_shape
from pgcast.engine.partitions import Attached
from pgcast.engine.ports import Database, Observation, PublishedTable, StreamStart
from pgcast.model.errors import StreamEnded
from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.model.relation import Table
from pgcast.model.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pgcast.model.messages import DatabaseMessage
    from pgcast.model.relation import Relation, TypeShape
    from pgcast.model.sight import Sight


PUBLICATION = "supabase_realtime"


class MemorySource:
    """A replication stream of what a test puts into it; errors put into it are raised where a stream would raise.

    Attributes:
        refusals: Raised by the next calls of `open`, one each.
        next_start: What the next stream says of itself.
        opened_after: The position that each opened stream was asked to start after.
        taken: Below which everything had been taken over, for each try to open.
        dropped: How often the slot was dropped.
        drop_failure: Raised instead, while there is one.
        server_version: Of the server.
        statuses: The status updates, `(received, flushed, reply_requested)`.
    """

    def __init__(self) -> None:
        self.refusals: list[Exception] = []
        self.next_start = {"slot_created": True, "confirmed_lsn": Lsn(50), "system_identifier": "7"}
        self.opened_after: list[int] = []
        self.taken: list[int] = []
        self.statuses: list[tuple[int, int, bool]] = []
        self.is_open = False
        self.dropped = 0
        self.drop_failure: Exception | None = None
        self.server_version = 180_004
        self._is_read = False
        self._batches: asyncio.Queue[list[bytes] | Exception] = asyncio.Queue()

    def send(self, *batch: bytes) -> None:
        """Let these envelopes arrive together."""
        self._batches.put_nowait(list(batch))

    def break_off(self, error: Exception) -> None:
        """Let the connection break after what was sent."""
        self._batches.put_nowait(error)

    async def open(self, after: Lsn, taken: Lsn = NO_LSN) -> StreamStart:
        self.taken.append(taken)
        await asyncio.sleep(0)
        if self.refusals:
            raise self.refusals.pop(0)
        self.opened_after.append(after)
        self.is_open = True
        start = StreamStart(
            database="5",
            server_version=self.server_version,
            slot="s",
            **self.next_start,  # type: ignore[arg-type]
        )
        self.next_start = {**self.next_start, "slot_created": False}
        return start

    async def read(self) -> list[bytes]:
        self._is_read = True
        try:
            batch = await self._batches.get()
        finally:
            self._is_read = False
        if isinstance(batch, Exception):
            raise batch
        return batch

    def send_status(self, received: Lsn, flushed: Lsn, *, reply_requested: bool = False) -> None:
        self.statuses.append((received, flushed, reply_requested))

    async def finish(self, received: Lsn, flushed: Lsn) -> None:
        self.send_status(received, flushed)

    async def drop_slot(self) -> None:
        if self.drop_failure is not None:
            raise self.drop_failure
        self.dropped += 1
        self.refusals.clear()  # they were the old slot's
        self.next_start = {**self.next_start, "slot_created": True}

    async def close(self) -> None:
        self.is_open = False
        if self._is_read and self._batches.empty():
            self.break_off(StreamEnded("the replication connection was closed"))


class MemoryCatalog:
    """A catalog that knows `public.todos (id int8, title text)`.

    Attributes:
        seen: The snapshot that it answers with.
        failure: Raised by every question, while there is one.
        is_silent: Nothing is answered, until it is set to False.
        roles: The roles that exist, and what they see of which table.
        fingerprint: Of the roles.
        partitions: What is attached.
        gone: The OIDs of tables that were dropped.
        alteration: What has become of all others, if anything.
        compared: How many tables were compared, in all.
    """

    def __init__(self) -> None:
        self.seen = Snapshot(1, 1, frozenset(), Lsn(0))
        self.failure: Exception | None = None
        self.is_silent = False
        self.is_closed = False
        self.described: list[str] = []
        self.roles: dict[str, dict[int, Sight]] = {}
        self.fingerprint = "1"
        self.partitions: frozenset[tuple[int, int, int]] = frozenset()
        self.gone: set[int] = set()
        self.alteration: Callable[[Table], Table] | None = None
        self.compared = 0

    async def describe(self, relation: Relation) -> Table:
        self.described.append(relation.name)
        shapes = [builtin_shape(column.type_oid) for column in relation.columns]
        return Table(relation, tuple(shape for shape in shapes if shape is not None), (0,))

    async def altered(self, tables: Collection[Table]) -> Mapping[int, Table | None]:
        await self._answer()
        self.compared += len(tables)
        altered: dict[int, Table | None] = {}
        for table in tables:
            if table.relation.oid in self.gone:
                altered[table.relation.oid] = None
            elif self.alteration is not None:
                altered[table.relation.oid] = self.alteration(table)
        return altered

    async def snapshot(self) -> Snapshot:
        await self._answer()
        return self.seen

    async def published_tables(self, *, is_fresh: bool = False) -> Sequence[PublishedTable]:
        del is_fresh
        await self._answer()
        return [PublishedTable(TODOS_OID, "public", "todos", (("id", INT8), ("title", TEXT)))]

    async def sights(self, oids: Collection[int], roles: Collection[str]) -> Mapping[str, Mapping[int, Sight]]:
        await self._answer()
        return {
            role: {oid: sight for oid, sight in self.roles[role].items() if oid in oids}
            for role in roles
            if role in self.roles
        }

    async def fingerprint_of_roles(self) -> str:
        await self._answer()
        return self.fingerprint

    async def attached(self) -> Attached:
        await self._answer()
        return Attached(self.partitions, self.seen)

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
    """Sees what a test lets it see.

    Attributes:
        seen: The next observations; an exception is raised. The last one stays.
    """

    def __init__(self, *seen: Observation | Exception) -> None:
        self.seen: list[Observation | Exception] = list(seen) or [observation()]
        self.looks = 0

    async def look(self) -> Observation:
        await asyncio.sleep(0)
        self.looks += 1
        found = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        """Nothing is open."""


class MemoryStore:
    """A store of messages that a test fills.

    Attributes:
        stored: What `recent` finds, whatever it is asked for.
        asked: What it was asked for.
        seen: What its question can see.
        failure: Raised by every question, while there is one.
        done: What the next `tend` says that it did.
        tended: For how many hours messages were to be kept, each time.
    """

    def __init__(self) -> None:
        self.stored: list[DatabaseMessage] = []
        self.asked: list[tuple[str, int, int]] = []
        self.seen = Snapshot(1, 1, frozenset(), Lsn(0))
        self.failure: Exception | None = None
        self.done: list[str] = []
        self.tended: list[int] = []
        self.is_closed = False

    async def recent(self, topic: str, since_ms: int, limit: int) -> tuple[list[DatabaseMessage], Snapshot]:
        await asyncio.sleep(0)
        self.asked.append((topic, since_ms, limit))
        if self.failure is not None:
            raise self.failure
        return list(self.stored), self.seen

    async def tend(self, keep_h: int) -> list[str]:
        await asyncio.sleep(0)
        self.tended.append(keep_h)
        if self.failure is not None:
            raise self.failure
        return self.done

    async def close(self) -> None:
        self.is_closed = True


def observation(**more: object) -> Observation:
    """An observation of a slot that is well, but for what is given."""
    well: dict[str, object] = {
        "lag_bytes": 0,
        "retained_bytes": 0,
        "wal_status": "reserved",
        "is_lost": False,
        "publications": {PUBLICATION: 16_500},
        "is_standby": False,
    }
    return Observation(**{**well, **more})  # type: ignore[arg-type]


def database(
    source: MemorySource | None = None,
    catalog: MemoryCatalog | None = None,
    observer: MemoryObserver | None = None,
    messages: MemoryStore | None = None,
) -> Database:
    """A database of memory adapters."""
    return Database(
        source or MemorySource(),
        catalog or MemoryCatalog(),
        observer or MemoryObserver(),
        [PUBLICATION],
        messages or MemoryStore(),
    )
