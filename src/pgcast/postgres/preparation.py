"""Run the plan of what is missing, in one transaction: all of it, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.model.errors import ConnectionFailed, DatabaseError, NotPrepared
from pgcast.postgres.connection import connect_sql, within
from pgcast.postgres.found import look
from pgcast.postgres.partitions import LOCK
from pgcast.postgres.refusals import WAL_LEVEL_SQL, server_text, translate
from pgcast.postgres.setup import Plan, make_plan

if TYPE_CHECKING:
    from pgcast.postgres.connection import SqlConnection, Target
    from pgcast.postgres.setup import Wishes

_TIMEOUT_S: Final = 30.0


async def prepare(target: Target, wishes: Wishes, *, is_dry: bool, timeout_s: float = _TIMEOUT_S) -> Plan:
    """Make what is missing; twice is safe.

    Args:
        target: The database.
        wishes: What is to be there.
        is_dry: Only look.
        timeout_s: For connecting, and for all statements together.

    Returns:
        What was made, or would have been.

    Raises:
        ConnectionFailed: No connection, or no answer in time; nothing was changed.
        NotPrepared: The role may not make it; nothing was changed.
        DatabaseError: Postgres refused something else; nothing was changed.
    """
    connection = await connect_sql(target, timeout_s=timeout_s)
    async with connection:
        try:
            return await within(timeout_s, _prepare(connection, target, wishes, is_dry=is_dry))
        except psycopg.errors.InsufficientPrivilege as error:
            raise NotPrepared(
                f"{target}: {server_text(error)}",
                hint="nothing was changed; print the SQL with --dry-run, and run it as the owner or a superuser",
            ) from error
        except psycopg.Error as error:
            raise translate(error, target.names(), otherwise=DatabaseError) from error
        except TimeoutError as error:
            raise ConnectionFailed(
                f"{target}: no answer within {timeout_s:g} s, so nothing was changed",
                hint="another session may hold a lock: SELECT pid, query FROM pg_stat_activity WHERE state <> 'idle';",
            ) from error


async def _prepare(connection: SqlConnection, target: Target, wishes: Wishes, *, is_dry: bool) -> Plan:
    async with connection.transaction():
        if not is_dry:
            await connection.execute("SELECT pg_advisory_xact_lock($1::int8)", [LOCK])
        found = await look(connection, target, wishes.tables)
        plan = make_plan(found, wishes)
        if not is_dry:
            for step in plan.steps:
                for statement in step.statements:
                    await connection.execute(statement.encode())
    if found.wal_level != "logical":
        plan.notes.append(f"wal_level is {found.wal_level}: {WAL_LEVEL_SQL} and restart Postgres")
    return plan
