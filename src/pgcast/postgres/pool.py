"""A few connections for questions: opened when asked, kept while they work, at most so many at a time.

Nothing happens in the background: a database that is away makes no noise until somebody asks, and then the answer is
the reason, at once. Questions only read, so one that fails on a connection that had gone stale is asked again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq

from pgcast.model.errors import DatabaseError
from pgcast.postgres.connection import connect_sql, within
from pgcast.postgres.refusals import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncCursor

    from pgcast.postgres.connection import SqlConnection, Target


class Pool:
    """Asks a database.

    Args:
        target: The database.
        limit: How many connections it may take.
        timeout_s: How long a question may take, waiting for a connection included.
    """

    def __init__(self, target: Target, *, limit: int, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(limit)
        self._idle: list[SqlConnection] = []
        self._is_closed = False

    async def ask(self, query: str, parameters: Sequence[Any] = ()) -> AsyncCursor[tuple[Any, ...]]:
        """Run one statement that only reads, and return its cursor, complete.

        Raises:
            psycopg.Error: Postgres refused the statement; the connection is fine.
            DatabaseError: The database could not be asked in time.
        """
        try:
            return await within(self._timeout_s, self._ask(query, parameters))
        except TimeoutError as error:
            raise DatabaseError(f"{self._target}: no answer within {self._timeout_s:g} s") from error

    async def close(self) -> None:
        """Close all connections, those in use once they are done; twice is safe."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _ask(self, query: str, parameters: Sequence[Any]) -> AsyncCursor[tuple[Any, ...]]:
        async with self._free:
            if self._is_closed:
                raise DatabaseError(f"{self._target}: the connections are closed")
            while self._idle:
                try:
                    return await self._run(self._idle.pop(), query, parameters)
                except _ConnectionLost:
                    continue  # it had gone stale; the next one, or a new one, will do
            connection = await connect_sql(self._target, timeout_s=self._timeout_s)
            try:
                return await self._run(connection, query, parameters)
            except _ConnectionLost as lost:
                raise translate(lost.reason, self._target.names(), otherwise=DatabaseError) from lost.reason

    async def _run(
        self, connection: SqlConnection, query: str, parameters: Sequence[Any]
    ) -> AsyncCursor[tuple[Any, ...]]:
        is_lost = False
        try:
            return await connection.execute(query.encode(), parameters)
        except psycopg.Error as error:
            # A server that is stopped says so before it hangs up.
            is_lost = connection.broken or (error.sqlstate or "").startswith(("57P", "08"))
            if is_lost:
                raise _ConnectionLost(error) from error
            raise
        finally:
            is_idle = connection.info.transaction_status == pq.TransactionStatus.IDLE
            if is_idle and not is_lost and not self._is_closed:
                self._idle.append(connection)
            else:
                await connection.close()


class _ConnectionLost(Exception):
    """The connection broke under a question."""

    def __init__(self, reason: psycopg.Error) -> None:
        super().__init__(str(reason))
        self.reason = reason
