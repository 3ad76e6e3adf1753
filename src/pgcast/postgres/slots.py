"""Replication slots: look at them, and drop them.

Every function takes an open connection, replicating or not; making a slot is a replication command, in replication.py.

Source: PostgreSQL, chapters "pg_replication_slots" and "Replication Management Functions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pgcast.model.errors import NotPrepared, SettingsError
from pgcast.model.lsn import NO_LSN, Lsn, parse_lsn
from pgcast.postgres.refusals import quote_identifier, quote_literal

if TYPE_CHECKING:
    from pgcast.postgres.connection import SqlConnection

PLUGIN: Final = "pgoutput"

_NAME: Final = re.compile("[a-z0-9_]{1,63}", re.ASCII)

# to_jsonb reads columns that only newer versions have (13: wal_status, 17: invalidation_reason) as NULL elsewhere.
SLOTS_QUERY: Final = """
    SELECT slot_name, plugin, database, database = current_database(), temporary, active, active_pid,
           restart_lsn::text, confirmed_flush_lsn::text,
           to_jsonb(s) ->> 'wal_status', to_jsonb(s) ->> 'invalidation_reason',
           pg_wal_lsn_diff(written.lsn, restart_lsn)::bigint, pg_wal_lsn_diff(written.lsn, confirmed_flush_lsn)::bigint
    FROM pg_replication_slots s,
         (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)
         AS written (lsn)
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as `pg_replication_slots` shows it.

    Attributes:
        name: Its name.
        plugin: The output plugin; None for a physical slot.
        database: The database it decodes; None for a physical slot.
        is_here: Whether that is the connection's database.
        is_temporary: Whether it ends with its connection.
        is_active: Whether a consumer holds it now.
        active_pid: The consumer's backend.
        restart_lsn: The oldest WAL it keeps; NO_LSN once it was invalidated.
        confirmed_lsn: All commits that end at or below it are confirmed.
        wal_status: `reserved`, `extended`, `unreserved` or `lost`; None below version 13.
        invalidation_reason: Why it was invalidated; None below version 17.
        retained_bytes: How much WAL it keeps on the server's disk.
        lag_bytes: How much WAL its consumer has not confirmed.
    """

    name: str
    plugin: str | None
    database: str | None
    is_here: bool
    is_temporary: bool
    is_active: bool
    active_pid: int | None
    restart_lsn: Lsn
    confirmed_lsn: Lsn
    wal_status: str | None
    invalidation_reason: str | None
    retained_bytes: int
    lag_bytes: int

    @property
    def is_lost(self) -> bool:
        """Whether Postgres has invalidated it: it can only be dropped."""
        return self.wal_status == "lost" or self.invalidation_reason is not None


def check_slot_name(name: str) -> str:
    """Return the name.

    Raises:
        SettingsError: Postgres would refuse it, or cut it.
    """
    if _NAME.fullmatch(name) is None:
        raise SettingsError(
            f"SLOT_NAME is no name for a replication slot: {name[:80]!r}",
            hint="1 to 63 of the characters a-z, 0-9 and _",
        )
    return name


def drop_slot_sql(name: str) -> str:
    """Return the statement that drops a slot."""
    return f"SELECT pg_drop_replication_slot({quote_literal(name)});"


async def find_slot(connection: SqlConnection, name: str) -> Slot | None:
    """Return the slot of this name, or None."""
    return next((slot for slot in await list_slots(connection) if slot.name == name), None)


async def list_slots(connection: SqlConnection) -> list[Slot]:
    """Return all slots of the cluster, by name."""
    cursor = await connection.execute(SLOTS_QUERY + "ORDER BY slot_name")
    return [read_slot(row) for row in await cursor.fetchall()]


def read_slot(row: tuple[Any, ...]) -> Slot:
    """Read one row of SLOTS_QUERY."""
    (
        name, plugin, database, is_here, is_temporary, is_active, active_pid,
        restart_lsn, confirmed_lsn, wal_status, invalidation_reason, retained_bytes, lag_bytes,
    ) = row  # fmt: skip
    return Slot(
        name=name,
        plugin=plugin,
        database=database,
        is_here=bool(is_here),
        is_temporary=is_temporary,
        is_active=is_active,
        active_pid=active_pid,
        restart_lsn=_lsn(restart_lsn),
        confirmed_lsn=_lsn(confirmed_lsn),
        wal_status=wal_status,
        invalidation_reason=invalidation_reason,
        retained_bytes=retained_bytes or 0,
        lag_bytes=lag_bytes or 0,
    )


async def drop_slot(connection: SqlConnection, name: str, *, place: str) -> None:
    """Drop a slot of ours; one that does not exist is fine.

    Raises:
        NotPrepared: It is somebody else's by now: of another plugin or database.
        psycopg.errors.ObjectInUse: A consumer holds it.
    """
    slot = await find_slot(connection, name)
    if slot is not None:
        check_owner(slot, place)
        await connection.execute(drop_slot_sql(name).encode())


def check_owner(slot: Slot, place: str) -> None:
    """Make sure that a slot is one that we could have made.

    Args:
        slot: The slot.
        place: The database, for the message.

    Raises:
        NotPrepared: It is somebody else's.
    """
    if slot.plugin != PLUGIN or not slot.is_here:
        raise NotPrepared(
            f"{place}: replication slot {quote_identifier(slot.name)} belongs to"
            f" {slot.plugin or 'physical replication'}, database {quote_identifier(slot.database or '')}",
            hint=f"choose another SLOT_NAME, or, if nobody needs it: {drop_slot_sql(slot.name)}",
        )


def _lsn(text: str | None) -> Lsn:
    return NO_LSN if text is None else parse_lsn(text)
