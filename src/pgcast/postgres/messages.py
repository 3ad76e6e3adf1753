"""The table `realtime.messages`, over ordinary connections: what it has stored lately, and what it needs day by day.

Source: PostgreSQL, chapters "Table Partitioning" and "Explicit Locking" (advisory locks).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.model.errors import ConnectionFailed, DatabaseError, NotPrepared
from pgcast.model.messages import DatabaseMessage
from pgcast.model.snapshot import parse_snapshot
from pgcast.postgres.connection import connect_sql, within
from pgcast.postgres.partitions import (
    LOCK,
    create_statements,
    drop_statement,
    list_partitions,
    missing_days,
    outdated,
)
from pgcast.postgres.pool import Pool
from pgcast.postgres.refusals import quote_identifier, server_text, translate
from pgcast.postgres.routines import MARK

if TYPE_CHECKING:
    from pgcast.model.snapshot import Snapshot
    from pgcast.postgres.connection import SqlConnection, Target

_CONNECTIONS: Final = 2
_TIMEOUT_S: Final = 3.0
_TEND_S: Final = 60.0
_REPLAY_BYTES: Final = 16 << 20
_BATCH_ROWS: Final = 5000

# A partition is dropped only where nobody reads the table just now: waiting for the lock would make others wait.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '2s'"

# The newest first, as many as fit; and what this very question can see. Every version knows the function's old name.
_RECENT: Final = """
    SELECT id, event, payload, binary_payload, seen, written FROM (
        SELECT m.id::text, m.event, m.payload::text, m.binary_payload, m.inserted_at,
               sum(octet_length(coalesce(m.payload::text, '')) + octet_length(coalesce(m.binary_payload, '')))
                   OVER (ORDER BY m.inserted_at DESC, m.id DESC) AS size
        FROM (
            SELECT * FROM realtime.messages
            WHERE topic = $1 AND private AND extension = 'broadcast' AND event IS NOT NULL
            AND (payload IS NOT NULL OR binary_payload IS NOT NULL)
            AND inserted_at >= to_timestamp($2::float8 / 1000) AT TIME ZONE 'utc'
            AND inserted_at < timezone('utc', now()) + interval '1 minute'
            ORDER BY inserted_at DESC, id DESC LIMIT $3
        ) m
    ) stored
    RIGHT JOIN (SELECT txid_current_snapshot()::text, (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_insert_lsn() END)::text) place (seen, written) ON size <= $4
    ORDER BY inserted_at, id
"""

_DELETE: Final = """
    DELETE FROM realtime.messages WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM realtime.messages WHERE inserted_at < timezone('utc', now()) - make_interval(hours => $1)
        LIMIT $2))
"""
_IS_OURS: Final = """
    SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = 'realtime' AND c.relname = 'messages' AND c.relkind = 'r'
                   AND obj_description(c.oid, 'pg_class') LIKE $1)
"""


class PostgresMessages:
    """A MessageStore on `realtime.messages`.

    Args:
        target: The database.
        max_payload_bytes: What is longer was never delivered, and is not replayed; 0 for no limit.
        timeout_s: The deadline of a replay.
    """

    def __init__(self, target: Target, *, max_payload_bytes: int, timeout_s: float = _TIMEOUT_S) -> None:
        self._target = target
        self._max_payload_bytes = max_payload_bytes
        self._pool = Pool(target, limit=_CONNECTIONS, timeout_s=timeout_s)

    async def recent(self, topic: str, since_ms: int, limit: int) -> tuple[list[DatabaseMessage], Snapshot]:
        """Return the newest private broadcasts of a topic, oldest first, and the snapshot by which they were found."""
        try:
            cursor = await self._pool.ask(_RECENT, [topic, float(since_ms), limit, _REPLAY_BYTES])
        except psycopg.errors.UndefinedTable as error:
            raise NotPrepared(
                f"{self._target}: there is no table realtime.messages", hint="pgcast init --realtime makes it"
            ) from error
        except psycopg.Error as error:
            raise translate(error, self._target.names(), otherwise=DatabaseError) from error
        rows = await cursor.fetchall()
        messages = [
            DatabaseMessage(
                topic=topic,
                is_private=True,
                event=event,
                payload=None if payload is None else payload.encode(),
                raw=None if payload is not None or raw is None else bytes(raw),
                id=identity,
            )
            for identity, event, payload, raw, *_ in rows
            if identity is not None
        ]
        limit_bytes = self._max_payload_bytes or _REPLAY_BYTES
        *_, seen, written = rows[0]
        return [one for one in messages if one.size_bytes <= limit_bytes], parse_snapshot(seen, written)

    async def tend(self, keep_h: int) -> list[str]:
        """Make the partitions of the coming days, and drop those, or the rows, that are too old."""
        connection = await connect_sql(self._target, timeout_s=_TIMEOUT_S)
        async with connection:
            try:
                return await within(_TEND_S, self._tend(connection, keep_h))
            except psycopg.errors.InsufficientPrivilege as error:
                role = quote_identifier(self._target.names().role)
                raise NotPrepared(
                    f"{self._target}: {server_text(error)}",
                    hint=f"ALTER TABLE realtime.messages OWNER TO {role}; and the same for its partitions; or"
                    " PGCAST_MESSAGES_H=0, where something else looks after them",
                ) from error
            except psycopg.Error as error:
                raise translate(error, self._target.names(), otherwise=DatabaseError) from error
            except TimeoutError as error:
                raise ConnectionFailed(f"{self._target}: no answer within {_TEND_S:g} s") from error

    async def close(self) -> None:
        """Close all connections; twice is safe."""
        await self._pool.close()

    async def _tend(self, connection: SqlConnection, keep_h: int) -> list[str]:
        partitions = await list_partitions(connection)
        if partitions is None:
            cursor = await connection.execute(_IS_OURS, [f"{MARK}%"])
            (is_ours,), *_ = await cursor.fetchall()
            return await self._delete(connection, keep_h) if is_ours else []
        cursor = await connection.execute("SELECT timezone('utc', now())")
        (now,), *_ = await cursor.fetchall()
        done: list[str] = []
        failures: list[psycopg.Error] = []
        work: list[tuple[str, list[str]]] = [
            *(
                (f"made the partition for {day}", create_statements(day))
                for day in missing_days(partitions, now.date())
            ),
            *(
                (f"dropped {partition.name}", [drop_statement(partition)])
                for partition in outdated(partitions, now, timedelta(hours=keep_h))
            ),
        ]
        for what, statements in work:
            try:
                if not await _run_alone(connection, statements):
                    return done  # another server is at it
                done.append(what)
            except psycopg.Error as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return done

    async def _delete(self, connection: SqlConnection, keep_h: int) -> list[str]:
        deleted = 0
        while True:
            cursor = await connection.execute(_DELETE, [keep_h, _BATCH_ROWS])
            deleted += cursor.rowcount
            if cursor.rowcount < _BATCH_ROWS:
                return [f"deleted {deleted} old rows"] if deleted else []


async def _run_alone(connection: SqlConnection, statements: list[str]) -> bool:
    """Run statements in a transaction of their own; False if another server is at work."""
    async with connection.transaction():
        cursor = await connection.execute("SELECT pg_try_advisory_xact_lock($1::int8)", [LOCK])
        (is_alone,), *_ = await cursor.fetchall()
        if is_alone:
            await connection.execute(_LOCK_TIMEOUT)
            for statement in statements:
                await connection.execute(statement.encode())
        return bool(is_alone)
