"""A change of the past, found again in the WAL that a slot still holds, and nothing consumed of it.

From version 12 on a copy of the slot is read, so whoever follows the slot notices nothing. Below, the slot itself is
looked into, which works only while nobody follows it.

Source: PostgreSQL, chapter "Replication Management Functions" (pg_copy_logical_replication_slot,
pg_logical_slot_peek_binary_changes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.changes.payload import commit_timestamp
from pgcast.changes.rows import make_row_reader
from pgcast.model.change import Change, Transaction
from pgcast.model.errors import DatabaseError, NotPrepared, SlotBusy, SlotLost
from pgcast.model.lsn import Lsn, format_lsn
from pgcast.model.position import Position, epoch_of
from pgcast.postgres.connection import connect_replication, connect_sql
from pgcast.postgres.refusals import quote_identifier, translate
from pgcast.postgres.slots import PLUGIN, find_slot
from pgcast.wal.decoder import Decoder
from pgcast.wal.messages import Begin, Commit, RelationMessage, Truncate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.engine.ports import Catalog
    from pgcast.model.relation import Relation
    from pgcast.postgres.connection import SqlConnection, Target
    from pgcast.postgres.slots import Slot

_CONNECT_S: Final = 10.0
_COPIES_FROM: Final = 120_000
_GIVE_THE_ROW: Final = "give the row itself: --row, --old, --event"
_ROWS: Final = frozenset(b"IUD")

# The commit record itself has to be read, so the end lies behind its first byte.
_PEEK: Final = """
    SELECT data FROM pg_logical_slot_peek_binary_changes(
        $1, $2::pg_lsn, NULL, 'proto_version', '1', 'publication_names', $3)
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes: one by its position, or those of all transactions of one millisecond."""

    position: Position | None = None
    committed_ms: int | None = None


async def find_changes(
    target: Target, slot: str, publications: Sequence[str], catalog: Catalog, wanted: Wanted, *, limit: int
) -> list[Change]:
    """Return the changes that are wanted, in order; none where the slot holds none.

    Args:
        target: The database.
        slot: The slot that holds the WAL.
        publications: Which are followed, unquoted.
        catalog: Asked about the tables.
        wanted: Which.
        limit: How many at most.

    Raises:
        NotPrepared: There is no such slot, or it is no longer there for that; or another database is meant.
        SlotBusy: Somebody follows the slot, and this version of Postgres cannot copy it.
        DatabaseError: The database could not be asked.
    """
    names = target.names(slot=slot, publications=tuple(publications))
    try:
        epoch = await _epoch(target)
        if wanted.position is not None and wanted.position.epoch != epoch:
            raise NotPrepared(
                f"{target}: position {wanted.position} is one of another database; here they begin with {epoch}",
                hint="are the settings those of the server that the position comes from?",
            )
        connection = await connect_sql(target, timeout_s=_CONNECT_S)
        try:
            readable = await _readable_slot(connection, slot, wanted, str(target))
            search = _Search(catalog, wanted, epoch, limit)
            await _peek(connection, readable, publications, wanted, search)
        finally:
            await connection.close()
    except psycopg.Error as error:
        raise translate(error, names, otherwise=DatabaseError) from error
    return search.found


async def _epoch(target: Target) -> str:
    connection = await connect_replication(target, timeout_s=_CONNECT_S)
    try:
        cursor = await connection.execute("IDENTIFY_SYSTEM")
        (system_identifier, *_), *_ = await cursor.fetchall()
        cursor = await connection.execute("SELECT oid::text FROM pg_database WHERE datname = current_database()")
        (database,), *_ = await cursor.fetchall()
    finally:
        await connection.close()
    return epoch_of(system_identifier, database)


async def _readable_slot(connection: SqlConnection, name: str, wanted: Wanted, place: str) -> str:
    """Return the name of a slot that can be looked into: a copy that ends with the connection, or the slot itself."""
    slot = await find_slot(connection, name)
    _check(slot, name, wanted, place)
    if connection.info.server_version >= _COPIES_FROM:
        copy = f"pgcast_explain_{connection.info.backend_pid}"
        await connection.execute("SELECT pg_copy_logical_replication_slot($1, $2, true)", [name, copy])
        return copy
    if slot is not None and slot.is_active:
        raise SlotBusy(
            f"{place}: replication slot {quote_identifier(name)} is followed (process {slot.active_pid}), and below"
            " version 12 Postgres lets nobody else look into it",
            hint=f"stop the server for the moment, or {_GIVE_THE_ROW}",
        )
    return name


def _check(slot: Slot | None, name: str, wanted: Wanted, place: str) -> None:
    if slot is None or slot.plugin != PLUGIN or not slot.is_here:
        raise NotPrepared(
            f"{place}: there is no replication slot {quote_identifier(name)} of pgcast's that could hold the change",
            hint=f"SLOT_NAME says which slot the server follows; or {_GIVE_THE_ROW}",
        )
    if slot.is_lost:
        raise SlotLost(
            f"{place}: Postgres has invalidated replication slot {quote_identifier(name)}", hint=_GIVE_THE_ROW
        )
    if wanted.position is not None and wanted.position.commit_lsn < slot.confirmed_lsn:
        raise NotPrepared(
            f"{place}: position {wanted.position} is held no longer: the slot has everything from"
            f" {format_lsn(slot.confirmed_lsn)} on",
            hint=f"PGCAST_WINDOW_S and PGCAST_WINDOW_MB say how much is held; {_GIVE_THE_ROW}",
        )


async def _peek(
    connection: SqlConnection, slot: str, publications: Sequence[str], wanted: Wanted, search: _Search
) -> None:
    position = wanted.position
    end = None if position is None else format_lsn(Lsn(position.commit_lsn + 1))
    quoted = ",".join(map(quote_identifier, publications))
    cursor = connection.cursor()
    async for (data,) in cursor.stream(_PEEK.encode(), [slot, end, quoted]):
        await search.take(bytes(data))
        if search.is_over:
            return


class _Search:
    """Reads messages until it has what is wanted; only the rows that are wanted are read."""

    def __init__(self, catalog: Catalog, wanted: Wanted, epoch: str, limit: int) -> None:
        self.found: list[Change] = []
        self.is_over = False
        self._catalog = catalog
        self._wanted = wanted
        self._epoch = epoch
        self._limit = limit
        self._decoder = Decoder()
        self._relations: dict[int, Relation] = {}
        self._transaction: Transaction | None = None
        self._index = 0

    async def take(self, data: bytes) -> None:
        """Take the next message."""
        if data[0] in _ROWS:
            if self._transaction is not None:
                await self._take_row(data, self._transaction)
            return
        message = self._decoder.decode(data, 0)
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self.is_over = self.is_over or (self._transaction is not None and self._wanted.position is not None)
            self._transaction = None
        elif isinstance(message, RelationMessage):
            self._relations[message.relation.oid] = message.relation
            self._decoder.readers.pop(message.relation.oid, None)
        elif isinstance(message, Truncate) and self._transaction is not None:
            for oid in message.relation_oids:
                if oid in self._relations and self._counts():
                    await self._know(oid)
                    self._keep(self._decoder.readers[oid].truncate(), self._transaction)

    def _begin(self, begin: Begin) -> None:
        wanted = self._wanted
        self._index = -1
        is_meant = (
            begin.final_lsn == wanted.position.commit_lsn
            if wanted.position is not None
            else begin.committed_us // 1000 == wanted.committed_ms
        )
        if is_meant:
            self._transaction = Transaction(
                begin.xid,
                begin.final_lsn,
                begin.committed_us,
                commit_timestamp(begin.committed_us),
                f"{self._epoch}-{begin.final_lsn:016x}-".encode(),
            )

    async def _take_row(self, data: bytes, transaction: Transaction) -> None:
        if not self._counts():
            return
        await self._know(int.from_bytes(data[1:5]))
        change = self._decoder.decode(data, 0)
        if isinstance(change, Change):
            self._keep(change, transaction)

    def _counts(self) -> bool:
        """Count a change, and say whether it is wanted."""
        self._index += 1
        return self._wanted.position is None or self._wanted.position.index == self._index

    async def _know(self, oid: int) -> None:
        if oid not in self._decoder.readers and oid in self._relations:
            self._decoder.readers[oid] = make_row_reader(await self._catalog.describe(self._relations[oid]))

    def _keep(self, change: Change, transaction: Transaction) -> None:
        change.transaction = transaction
        change.index = self._index
        self.found.append(change)
        self.is_over = self._wanted.position is not None or len(self.found) >= self._limit
