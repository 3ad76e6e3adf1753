"""The tables that the replication stream has announced: how their rows are read, and what changes unannounced.

Postgres announces a table before its first row, and again after whatever changes it; but not the name of a schema or a
type, and not that a table was dropped. So the catalog is asked every second, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from pgcast.changes.rows import make_row_reader
from pgcast.logs import get_logger
from pgcast.model.errors import PgcastError
from pgcast.model.lsn import NO_LSN
from pgcast.wal.watched import WatchedReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.engine.hub import Hub
    from pgcast.engine.ports import Catalog
    from pgcast.engine.privileges import Privileges
    from pgcast.engine.relays import Relays
    from pgcast.model.lsn import Lsn
    from pgcast.model.relation import Relation, Table
    from pgcast.wal.messages import RowReader
    from pgcast.wal.progress import Progress

log = get_logger(__name__)

_LOOK_S = 1.0
_POLL_S = 0.1


class Tables:
    """Those of one stream after another.

    Args:
        catalog: Asked about each relation that is announced.
        privileges: Told of it, too.
        hub: Whose window says how long the changes of a dropped table are held.
        relays: Knows for whose rows somebody watches.
        progress: Knows how far the stream has been read.
        ask_for_progress: Has Postgres say at once how far it has read.
    """

    def __init__(
        self,
        catalog: Catalog,
        privileges: Privileges,
        hub: Hub,
        relays: Relays,
        progress: Progress,
        ask_for_progress: Callable[[], None],
    ) -> None:
        self._catalog = catalog
        self._privileges = privileges
        self._hub = hub
        self._relays = relays
        self._progress = progress
        self._ask_for_progress = ask_for_progress
        self._tables: dict[int, Table] = {}
        self._readers: dict[int, RowReader] = {}
        self._gone: deque[tuple[int, int]] = deque()  # dropped tables, each with the window's end when that was known

    def restart(self, readers: dict[int, RowReader]) -> None:
        """Another stream begins, in which all tables are announced anew.

        Args:
            readers: Where their row readers go, by OID.
        """
        self._tables = {}
        self._readers = readers

    async def announced(self, relation: Relation) -> None:
        """Learn all about a table; to be awaited before its next row is read.

        Raises:
            DatabaseError: The database could not be asked.
        """
        table = await self._catalog.describe(relation)
        await self._privileges.announced(table.relation.oid)
        self._know(table)

    async def keep_current(self) -> None:
        """Every second, learn what has changed about the tables without an announcement.

        It counts from the place on at which the catalog was asked: rows before it may be from before the change.
        """
        while True:
            await asyncio.sleep(_LOOK_S)
            self._forget_the_gone()
            tables = self._tables
            asked = dict(tables)
            try:
                await self._privileges.refresh()
                altered = await self._catalog.altered(asked.values()) if asked else {}
                insert_lsn = (await self._catalog.snapshot()).insert_lsn if altered else NO_LSN
            except PgcastError as error:
                log.debug("the tables' definitions could not be compared", error=error.message)
                continue
            await self._wait_for_stream(insert_lsn, tables)
            for oid, table in altered.items():
                if self._tables.get(oid) is not asked[oid]:
                    continue  # whatever was announced meanwhile is newer
                if table is None:
                    # Its last rows have been read: whoever dropped it waited for those who wrote them.
                    del self._tables[oid]
                    self._readers.pop(oid, None)
                    self._gone.append((self._hub.window.end, oid))
                else:
                    self._know(table)

    async def _wait_for_stream(self, lsn: Lsn, tables: dict[int, Table]) -> None:
        """Wait until the stream has passed a place, or is another one, whose tables are others."""
        while self._progress.received < lsn and tables is self._tables:
            self._ask_for_progress()
            await asyncio.sleep(_POLL_S)

    def _know(self, table: Table) -> None:
        """Read the rows that follow as this table's."""
        self._tables[table.relation.oid] = table
        reader: RowReader = make_row_reader(table)
        if self._relays.watches(table):
            reader = WatchedReader(reader)
        self._readers[table.relation.oid] = reader

    def _forget_the_gone(self) -> None:
        """Forget who may see a table that was dropped, once the window holds no change of it."""
        while self._gone and self._gone[0][0] <= self._hub.window.start:
            _, oid = self._gone.popleft()
            if oid not in self._tables:
                self._hub.sights.forget_table(oid)
