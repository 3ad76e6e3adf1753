"""Of which columns an UPDATE carries the old values: a table's replica identity, as it is now.

Source: PostgreSQL, chapter "Logical Replication" (Publication), ALTER TABLE ... REPLICA IDENTITY.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgcast.postgres.pool import Pool

_QUERY: Final = """
    SELECT c.oid::int8, ARRAY(
        SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (c.relreplident = 'f' OR a.attnum = ANY (i.indkey)))
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND CASE c.relreplident
        WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
    WHERE c.oid = ANY ($1::oid[])
"""


async def identities_of(pool: Pool, tables: Iterable[int]) -> dict[int, frozenset[str]]:
    """Return the names of the columns of some tables' replica identities, by the table's OID.

    Raises:
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    cursor = await pool.ask(_QUERY, [sorted(set(tables))])
    return {table: frozenset(columns) for table, columns in await cursor.fetchall()}
