"""The questions to the policies on `realtime.messages`, as SQL in a transaction that is rolled back.

To read means to see a row of the topic: so the server inserts probe rows, and selects them as the client. To write
means to insert a row as the client. Each asker starts from a savepoint, which undoes the role, the settings and the
errors of the one before. Nothing that a client says becomes part of a statement: all of it is parameters. Functions are
named with their schema: the search_path is the database's, and a function of somebody's that fits better would run with
the server's rights.

Source: PostgreSQL, chapters "Row Security Policies" and "SAVEPOINT"; the realtime protocol, on private channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgcast.engine.ports import Asker
    from pgcast.postgres.connection import SqlConnection

EXTENSIONS: Final = ("broadcast", "presence")

DENIED: Final = "42501"
"""How Postgres says that no policy, or no privilege, allows it (insufficient_privilege)."""

_BEGIN: Final = "BEGIN"
_LIMIT: Final = "SET LOCAL statement_timeout TO 1000"
_ROLLBACK: Final = "ROLLBACK"
_SAVEPOINT: Final = "SAVEPOINT asker"
_BACK: Final = "ROLLBACK TO SAVEPOINT asker"
_INSERT_PROBES: Final = """
    INSERT INTO realtime.messages (topic, extension, private)
    SELECT topic, extension, true FROM pg_catalog.unnest($1::text[]) topic
    CROSS JOIN pg_catalog.unnest($2::text[]) extension
    RETURNING id::text, topic
"""
# The role comes last: from there on the client's privileges count.
_BECOME: Final = """
    SELECT pg_catalog.set_config('realtime.topic', $1, true), pg_catalog.set_config('request.jwt.claims', $2, true),
        pg_catalog.set_config('request.jwt.claim.sub', $3, true),
        pg_catalog.set_config('request.jwt.claim.role', $4, true),
        pg_catalog.set_config('request.headers', $5, true), pg_catalog.set_config('role', $4, true)
"""
_READ: Final = "SELECT extension FROM realtime.messages WHERE id = ANY ($1::uuid[])"
_WRITE: Final = "INSERT INTO realtime.messages (topic, extension, private) VALUES ($1, $2, true)"

# What is wrong for all topics alike: the connection, the server, the table, our rights on it.
_FOR_ALL: Final = frozenset({"08", "57", "53", "58", "3F", "42"})


class Denied(Exception):
    """A statement failed as the asker: no policy allows it, or one raised.

    Args:
        error: What Postgres said.
    """

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(error.sqlstate)
        self.error = error


async def begin(connection: SqlConnection, topics: Iterable[str]) -> dict[str, list[str]]:
    """Begin a transaction for several askers.

    Args:
        connection: In no transaction.
        topics: Those that will be asked about.

    Returns:
        The ids of the probe rows, by topic; a topic that Postgres does not take as a value is missing.

    Raises:
        psycopg.Error: The table is missing or not ours to use, or the connection is lost.
    """
    async with connection.pipeline():
        await connection.execute(_BEGIN)
        await connection.execute(_LIMIT)
        await connection.execute(_SAVEPOINT)
    listed = sorted(set(topics))
    try:
        probes = await _insert_probes(connection, listed)
    except psycopg.Error as error:
        if len(listed) < 2 or is_lost(connection, error) or (error.sqlstate or "08")[:2] in _FOR_ALL:
            raise
        probes = await _insert_one_by_one(connection, listed)
    await connection.execute(_SAVEPOINT)
    return probes


async def read(connection: SqlConnection, asker: Asker, probes: Sequence[str]) -> set[str]:
    """Return the extensions whose rows the asker can see.

    Raises:
        Denied: Something failed as the asker.
        psycopg.Error: It took too long, or the connection is lost.
    """
    rows = await _run(connection, asker, _READ, [list(probes)])
    return {extension for (extension,) in rows}


async def write(connection: SqlConnection, asker: Asker, extension: str) -> None:
    """Insert a row as the asker.

    Raises:
        Denied: Something failed as the asker.
        psycopg.Error: It took too long, or the connection is lost.
    """
    await _run(connection, asker, _WRITE, [asker.topic, extension])


async def end(connection: SqlConnection) -> None:
    """Undo all of it."""
    await connection.execute(_ROLLBACK)


def is_lost(connection: SqlConnection, error: psycopg.Error) -> bool:
    """Say whether the connection has ended, or is about to: a server that is stopped says so before it hangs up."""
    return connection.closed or (error.sqlstate or "08").startswith(("08", "57P"))


async def _run(
    connection: SqlConnection, asker: Asker, statement: str, parameters: Sequence[Any]
) -> list[tuple[Any, ...]]:
    settings = [asker.topic, asker.claims, asker.subject, asker.role, asker.headers]
    try:
        async with connection.pipeline():
            await connection.execute(_BACK)
            await connection.execute(_BECOME, settings)
            cursor = await connection.execute(statement, parameters)
    except psycopg.Error as error:
        if is_lost(connection, error) or isinstance(error, psycopg.errors.QueryCanceled):
            raise
        raise Denied(error) from error
    return await cursor.fetchall() if cursor.description is not None else []


async def _insert_probes(connection: SqlConnection, topics: Sequence[str]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}
    if topics:
        cursor = await connection.execute(_INSERT_PROBES, [list(topics), list(EXTENSIONS)])
        for row_id, topic in await cursor.fetchall():
            ids.setdefault(topic, []).append(row_id)
    return ids


async def _insert_one_by_one(connection: SqlConnection, topics: Sequence[str]) -> dict[str, list[str]]:
    """Find out which topics Postgres does not take: one too long for an index, or outside the database's encoding."""
    probes: dict[str, list[str]] = {}
    await connection.execute(_BACK)
    for topic in topics:
        try:
            probes |= await _insert_probes(connection, [topic])
            await connection.execute(_SAVEPOINT)
        except psycopg.Error as error:
            if is_lost(connection, error):
                raise
            await connection.execute(_BACK)
    return probes
