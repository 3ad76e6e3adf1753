"""How the text of columns is compared: from `pg_collation` and `pg_database`.

Source: PostgreSQL, chapters "Collation Support" and "pg_collation".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pgcast.model.relation import Collation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgcast.model.relation import TypeShape
    from pgcast.postgres.pool import Pool

# The provider d stands for the database's own locale. Columns that a version lacks read as NULL: collisdeterministic
# (12+), datlocprovider (15+); the built-in provider b (17+) orders by bytes whatever its locale.
_QUERY: Final = """
    SELECT a.attrelid::int8, a.attname::text, quote_ident(n.nspname) || '.' || quote_ident(c.collname),
           CASE c.collprovider WHEN 'd' THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') ELSE c.collprovider::text
           END,
           coalesce(CASE c.collprovider WHEN 'd' THEN d.datcollate::text ELSE c.collcollate::text END, ''),
           coalesce(CASE c.collprovider WHEN 'd' THEN d.datctype::text ELSE c.collctype::text END, ''),
           coalesce(to_jsonb(c) ->> 'collisdeterministic', 'true') = 'true'
    FROM pg_attribute a
    JOIN pg_collation c ON c.oid = a.attcollation
    JOIN pg_namespace n ON n.oid = c.collnamespace
    JOIN pg_database d ON d.datname = current_database()
    WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
"""

_C: Final = frozenset({"C", "POSIX"})


async def collations_of(pool: Pool, tables: Iterable[int]) -> dict[tuple[int, str], Collation]:
    """Return the collations of some tables' columns, by the table's OID and the column's name.

    Raises:
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    cursor = await pool.ask(_QUERY, [sorted(set(tables))])
    return {
        (table, column): Collation(
            name,
            is_bytewise=provider == "b" or (provider == "c" and order in _C),
            is_deterministic=is_deterministic,
            folds_ascii=provider == "c" and case in _C,
        )
        for table, column, name, provider, order, case, is_deterministic in await cursor.fetchall()
    }


def collated(shape: TypeShape, table: int, column: str, collations: Mapping[tuple[int, str], Collation]) -> TypeShape:
    """Return a column's type together with the column's collation, if it has one."""
    collation = collations.get((table, column))
    return shape if collation is None else replace(shape, collation=collation)
