"""The slot and the publications seen from outside, once in a while: how much WAL is kept, and whether all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.engine.ports import Observation
from pgcast.model.errors import DatabaseError
from pgcast.postgres.pool import Pool
from pgcast.postgres.refusals import translate
from pgcast.postgres.slots import SLOTS_QUERY, read_slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import Target

_TIMEOUT_S: Final = 3.0

_PUBLICATIONS: Final = "SELECT pubname::text, oid::int8 FROM pg_publication WHERE pubname = ANY ($1::text[])"

# Named there, by the application_name that DATABASE_URL may choose, or meant by `*`, this connection is a candidate
# that commits may wait for. As long as it confirms nothing it does not count as one (pg_stat_replication says
# `async`), and without another one every commit hangs. Names may be quoted, and their case does not count.
_STANDBY: Final = r"""
    SELECT coalesce(bool_or(sync_state IN ('sync', 'quorum') AND pid = $1::int), false)
        OR (coalesce(bool_or(pid = $1::int AND lower(current_setting('synchronous_standby_names')) ~ (
                '\*|(^|[\s,()])"?' || regexp_replace(lower(application_name), '([^\w\s])', '\\\1', 'g')
                || '"?($|[\s,()])')), false)
            AND NOT coalesce(bool_or(sync_state IN ('sync', 'quorum') AND pid <> $1::int), false))
    FROM pg_stat_replication
"""


class PostgresObserver:
    """An Observer on one ordinary connection, opened when it is needed.

    Args:
        target: The database.
        slot: The slot's name.
        publications: The followed publications, unquoted.
    """

    def __init__(self, target: Target, *, slot: str, publications: Sequence[str]) -> None:
        self._names = target.names(slot=slot, publications=tuple(publications))
        self._slot = slot
        self._publications = list(publications)
        self._pool = Pool(target, limit=1, timeout_s=_TIMEOUT_S)

    async def look(self) -> Observation:
        """Ask once, with a deadline."""
        try:
            return await self._look()
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error

    async def close(self) -> None:
        """Close the connection; twice is safe."""
        await self._pool.close()

    async def _look(self) -> Observation:
        cursor = await self._pool.ask(SLOTS_QUERY + "WHERE slot_name = $1", [self._slot])
        row = await cursor.fetchone()
        publications = await (await self._pool.ask(_PUBLICATIONS, [self._publications])).fetchall()
        slot = None if row is None else read_slot(row)
        is_standby = False
        if slot is not None and slot.active_pid is not None:
            (is_standby,), *_ = await (await self._pool.ask(_STANDBY, [slot.active_pid])).fetchall()
        return Observation(
            lag_bytes=0 if slot is None else slot.lag_bytes,
            retained_bytes=0 if slot is None else slot.retained_bytes,
            wal_status=None if slot is None else slot.wal_status,
            is_lost=slot is not None and slot.is_lost,
            publications=dict(publications),
            is_standby=is_standby,
        )
