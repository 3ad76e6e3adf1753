"""What a database lacks, and the exact SQL that mends it.

Asks over one ordinary and one replicating connection, changes nothing, and reports in the order in which somebody would
set up a database: reach it, configure the server, let the role replicate, publish tables, look after the slot. What
concerns single tables is in table_checks.py.

Source: PostgreSQL, chapters "Logical Replication" (section "Configuration Settings") and "Write Ahead Log".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.model.errors import DatabaseError
from pgcast.postgres.connection import connect_replication, connect_sql, within
from pgcast.postgres.findings import Finding, error, info, ok, warning
from pgcast.postgres.message_checks import check_messages
from pgcast.postgres.publications import create_publication_sql, list_publications
from pgcast.postgres.refusals import WAL_LEVEL_SQL, quote_identifier, translate
from pgcast.postgres.slots import PLUGIN, Slot, drop_slot_sql, list_slots
from pgcast.postgres.table_checks import check_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import SqlConnection, Target
    from pgcast.postgres.publications import Publication

_OLDEST: Final = 100000
_TIMEOUT_S: Final = 10.0
_LAG_WARNING_BYTES: Final = 1 << 30


async def check_database(
    target: Target, *, slot: str, publications: Sequence[str], timeout_s: float = _TIMEOUT_S
) -> list[Finding]:
    """Look at everything that pgcast needs of a database.

    Args:
        target: The database.
        slot: The name of the replication slot.
        publications: The publications to follow, unquoted.
        timeout_s: How long each of the two connections may take, and all questions together.

    Returns:
        The findings, good and bad. If the database cannot be reached, that one alone.
    """
    try:
        connection = await connect_sql(target, timeout_s=timeout_s)
    except DatabaseError as refusal:
        return [error("connection", refusal.message, hint=refusal.hint)]
    async with connection:
        try:
            findings = await within(timeout_s, _ask_all(connection, target, slot, publications))
        except psycopg.Error as refusal:
            told = translate(refusal, target.names(slot=slot), otherwise=DatabaseError)
            return [error("connection", told.message, hint=told.hint)]
        except TimeoutError:
            return [error("connection", f"{target}: no answer within {timeout_s:g} s")]
    return findings


async def _ask_all(connection: SqlConnection, target: Target, slot: str, publications: Sequence[str]) -> list[Finding]:
    slots = await list_slots(connection)
    existing = await list_publications(connection)
    return [
        ok("connection", f"{target} answers"),
        _check_version(connection.info.server_version),
        await _check_wal_level(connection),
        await _check_replication(connection, target),
        await _check_walsenders(connection, is_ours_active=any(one.name == slot and one.is_active for one in slots)),
        await _check_free_slots(connection, slots, slot),
        *(_check_publication(name, existing) for name in publications),
        *await check_tables(connection, publications),
        *await check_messages(connection, target, publications),
        _check_slot(slot, slots),
        await _check_synchronous_standbys(connection),
    ]


def _check_version(version: int) -> Finding:
    printed = f"PostgreSQL {version // 10000}.{version % 10000}"
    if version < _OLDEST:
        return error("version", printed, hint="logical replication with pgoutput needs PostgreSQL 10 or newer")
    return ok("version", printed)


async def _setting(connection: SqlConnection, name: str) -> str:
    cursor = await connection.execute("SELECT current_setting($1)", [name])
    (value,), *_ = await cursor.fetchall()
    return str(value)


async def _check_wal_level(connection: SqlConnection) -> Finding:
    level = await _setting(connection, "wal_level")
    if level == "logical":
        return ok("wal_level", "logical")
    hint = "then restart Postgres; a hosted database has a switch of its own for logical replication"
    return error("wal_level", f"{level}, and has to be logical", sql=WAL_LEVEL_SQL, hint=hint)


async def _check_replication(connection: SqlConnection, target: Target) -> Finding:
    """Try it: the role's attribute, pg_hba.conf and hosted services' own rules all have their say."""
    cursor = await connection.execute(
        "SELECT rolname, rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user"
    )
    (role, may_replicate), *_ = await cursor.fetchall()
    try:
        replicating = await connect_replication(target, timeout_s=_TIMEOUT_S)
    except DatabaseError as refusal:
        sql = "" if may_replicate else f"ALTER ROLE {quote_identifier(role)} WITH REPLICATION;"
        return error("replication", refusal.message, sql=sql, hint="as a superuser" if sql else refusal.hint)
    await replicating.close()
    return ok("replication", f"role {quote_identifier(role)} may replicate")


async def _check_walsenders(connection: SqlConnection, *, is_ours_active: bool) -> Finding:
    limit = int(await _setting(connection, "max_wal_senders"))
    cursor = await connection.execute("SELECT count(*) FROM pg_stat_replication")
    (used,), *_ = await cursor.fetchall()
    if used < limit or is_ours_active:
        return ok("max_wal_senders", f"{used} of {limit} in use")
    sql = f"ALTER SYSTEM SET max_wal_senders = {limit + 10};"
    return error("max_wal_senders", f"all {limit} are in use", sql=sql, hint="then restart Postgres")


async def _check_free_slots(connection: SqlConnection, slots: Sequence[Slot], name: str) -> Finding:
    limit = int(await _setting(connection, "max_replication_slots"))
    if len(slots) < limit or any(slot.name == name for slot in slots):
        return ok("max_replication_slots", f"{len(slots)} of {limit} in use")
    idle = [drop_slot_sql(slot.name) for slot in slots if not slot.is_active]
    return error(
        "max_replication_slots",
        f"all {limit} are in use",
        sql="\n".join([f"ALTER SYSTEM SET max_replication_slots = {limit + 10};", *(f"-- or {sql}" for sql in idle)]),
        hint="then restart Postgres; or drop a slot that nobody needs, which loses what its reader has not read",
    )


def _check_publication(name: str, existing: Sequence[Publication]) -> Finding:
    label = f"publication {quote_identifier(name)}"
    found = next((publication for publication in existing if publication.name == name), None)
    if found is None:
        there = ", ".join(quote_identifier(publication.name) for publication in existing) or "none"
        hint = f"or ... FOR TABLE a, b; there are: {there}; PUBLICATIONS says which to follow"
        return error(label, "does not exist", sql=create_publication_sql(name), hint=hint)
    if found.table_count == 0 and not found.has_all_tables:
        sql = f"ALTER PUBLICATION {quote_identifier(name)} ADD TABLE ...;"
        return warning(label, "contains no table, so nothing will come", sql=sql)
    missing = {"insert", "update", "delete"} - found.actions
    if missing:
        sql = f"ALTER PUBLICATION {quote_identifier(name)} SET (publish = 'insert, update, delete, truncate');"
        return info(label, f"does not publish {', '.join(sorted(missing))}", sql=sql)
    return ok(label, f"{'all tables' if found.has_all_tables else 'some tables'}: {found.table_count} now")


def _check_slot(name: str, slots: Sequence[Slot]) -> Finding:
    label = f"slot {quote_identifier(name)}"
    slot = next((one for one in slots if one.name == name), None)
    if slot is None:
        return ok(label, "does not exist yet; it is made at the first start")
    if slot.plugin != PLUGIN or not slot.is_here:
        whose = f"{slot.plugin or 'physical replication'}, database {quote_identifier(slot.database or '')}"
        return error(label, f"belongs to {whose}", sql=drop_slot_sql(name), hint="or choose another SLOT_NAME")
    if slot.is_lost:
        reason = f" ({slot.invalidation_reason})" if slot.invalidation_reason else ""
        hint = "a new one is made at the next start; what was not delivered is lost"
        return error(label, f"was invalidated by Postgres{reason}", sql=drop_slot_sql(name), hint=hint)
    state = f"in use by process {slot.active_pid}" if slot.is_active else "not in use"
    lag = f"{slot.lag_bytes:,} bytes not confirmed, {slot.retained_bytes:,} bytes of WAL kept"
    status = f", {slot.wal_status}" if slot.wal_status else ""
    message = f"{state}; {lag}{status}"
    if slot.wal_status == "unreserved" or slot.retained_bytes > _LAG_WARNING_BYTES:
        hint = "start pgcast, or drop the slot if nobody needs it: Postgres keeps that WAL on its disk for it"
        return warning(label, message, hint=hint)
    return ok(label, message)


async def _check_synchronous_standbys(connection: SqlConnection) -> Finding:
    names = await _setting(connection, "synchronous_standby_names")
    if "*" not in names:
        return ok("synchronous_standby_names", names or "not used")
    return warning(
        "synchronous_standby_names",
        f"{names!r} takes every reader, pgcast too, for a standby: commits would wait for it",
        sql="ALTER SYSTEM SET synchronous_standby_names = '...';\nSELECT pg_reload_conf();",
        hint="name the standbys; pgcast connects with the application_name pgcast",
    )
