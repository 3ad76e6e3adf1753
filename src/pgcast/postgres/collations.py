"""How the text of columns is compared: from `pg_collation` and `pg_database`.

Source: PostgreSQL, chapters "Collation Support" and "pg_collation".
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pgcast.model.relation import Collation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgcast.model.relation import TypeShape
    from pgcast.postgres.pool import Pool

# The provider d stands for the database's own locale. Columns that a version lacks read as NULL: collisdeterministic
# (12+), datlocprovider (15+); the built-in provider b (17+) orders by bytes whatever its locale. Thousands of columns
# share a few collations: each is looked at once (OFFSET 0), and comes as one row.
_QUERY: Final = """
    SELECT p.name, p.provider, p.ordering, p.casing, p.is_deterministic,
           ARRAY_AGG(a.attrelid::int8), ARRAY_AGG(a.attname::text)
    FROM (
        SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.collname) AS name,
               CASE c.collprovider WHEN 'd' THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
               ELSE c.collprovider::text END AS provider,
               coalesce(CASE c.collprovider WHEN 'd' THEN d.datcollate::text ELSE c.collcollate::text END, '')
               AS ordering,
               coalesce(CASE c.collprovider WHEN 'd' THEN d.datctype::text ELSE c.collctype::text END, '') AS casing,
               coalesce(to_jsonb(c) ->> 'collisdeterministic', 'true') = 'true' AS is_deterministic
        FROM pg_collation c
        JOIN pg_namespace n ON n.oid = c.collnamespace
        JOIN pg_database d ON d.datname = current_database()
        WHERE c.oid IN (SELECT attcollation FROM pg_attribute WHERE attrelid = ANY ($1::oid[]))
        OFFSET 0
    ) p
    JOIN pg_attribute a ON a.attcollation = p.oid
    WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
    GROUP BY p.oid, p.name, p.provider, p.ordering, p.casing, p.is_deterministic
"""

_C: Final = frozenset({"C", "POSIX"})


async def collations_of(pool: Pool, tables: Iterable[int]) -> dict[tuple[int, str], Collation]:
    """Return the collations of some tables' columns, by the table's OID and the column's name.

    Raises:
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    cursor = await pool.ask(_QUERY, [sorted(set(tables))])
    found: dict[tuple[int, str], Collation] = {}
    for name, provider, order, case, is_deterministic, oids, columns in await cursor.fetchall():
        collation = Collation(
            name,
            is_bytewise=provider == "b" or (provider == "c" and order in _C),
            is_deterministic=is_deterministic,
            folds_ascii=provider == "c" and case in _C,
        )
        found.update(dict.fromkeys(zip(oids, columns, strict=True), collation))
    return found


def collated(shape: TypeShape, table: int, column: str, collations: Mapping[tuple[int, str], Collation]) -> TypeShape:
    """Return a column's type together with the column's collation, if it has one."""
    collation = collations.get((table, column))
    return shape if collation is None else _with(shape, collation)


@lru_cache(maxsize=1024)
def _with(shape: TypeShape, collation: Collation) -> TypeShape:
    return replace(shape, collation=collation)
