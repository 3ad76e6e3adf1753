"""What Postgres does with the changes of one table before pgcast sees them.

Source: PostgreSQL, chapters "pg_publication", "pg_publication_tables" and "Row Filters".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.change import Kind
from pgcast.model.relation import ReplicaIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.pool import Pool

_ACTIONS: Final = (Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.TRUNCATE)

_TABLE: Final = """
    SELECT c.oid::int8, c.relreplident::text,
        ARRAY(SELECT quote_ident(n.nspname) || '.' || quote_ident(r.relname) FROM (
            WITH RECURSIVE above (oid) AS (
                SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid
                UNION SELECT inhparent FROM pg_inherits JOIN above ON inhrelid = above.oid)
            SELECT oid FROM above) ancestor
            JOIN pg_class r ON r.oid = ancestor.oid AND r.relkind = 'p' JOIN pg_namespace n ON n.oid = r.relnamespace
            WHERE EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = ANY ($3::text[])
                          AND t.schemaname = n.nspname AND t.tablename = r.relname))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2
"""

_FIELDS: Final = """
    SELECT attname::text, atttypid::int8, atttypmod, format_type(atttypid, atttypmod)
    FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""

# to_jsonb reads what a version lacks (11: pubtruncate; 15: rowfilter, prqual) as NULL.
_PUBLICATIONS: Final = r"""
    SELECT p.pubname::text, p.pubinsert, p.pubupdate, p.pubdelete, (to_jsonb(p) ->> 'pubtruncate')::boolean,
        t.tablename IS NOT NULL, to_jsonb(t) ->> 'rowfilter',
        ARRAY(SELECT DISTINCT a.attname::text FROM pg_publication_rel r
              CROSS JOIN LATERAL regexp_matches(to_jsonb(r) ->> 'prqual', ':varattno (\d+)', 'g') found
              JOIN pg_attribute a ON a.attrelid = r.prrelid AND a.attnum = found[1]::int
              WHERE r.prpubid = p.oid AND r.prrelid = $1::oid)
    FROM pg_publication p
    LEFT JOIN pg_publication_tables t ON t.pubname = p.pubname AND (t.schemaname, t.tablename) = (
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = $1::oid)
    WHERE p.pubname = ANY ($2::text[]) ORDER BY p.pubname
"""


@dataclass(frozen=True, slots=True)
class Field:
    """A column as the catalog has it; `type_name` is what SQL calls its type, with its length."""

    name: str
    type_oid: int
    type_modifier: int
    type_name: str


@dataclass(frozen=True, slots=True)
class Following:
    """A followed publication, and what it does with one table.

    Attributes:
        name: Its name.
        actions: Which kinds of change it publishes, of all its tables.
        has_table: Whether the table is one of them.
        row_filter: The condition that a row has to pass, as SQL; None for none.
        filter_columns: The columns in it.
    """

    name: str
    actions: frozenset[Kind]
    has_table: bool
    row_filter: str | None = None
    filter_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """A table, and how it is published.

    Attributes:
        oid: Its OID.
        identity: Its replica identity.
        roots: The published tables that it is a partition of, quoted: under their names its changes may come.
        fields: All its columns.
        following: The followed publications that exist.
    """

    oid: int
    identity: ReplicaIdentity
    roots: tuple[str, ...]
    fields: tuple[Field, ...]
    following: tuple[Following, ...]

    def publishing(self, kind: Kind) -> list[Following]:
        """Return the publications that publish a kind of change of the table."""
        return [one for one in self.following if one.has_table and kind in one.actions]


async def look_at(pool: Pool, schema: str, name: str, publications: Sequence[str]) -> Subject | None:
    """Return a table, or None if there is none of this name.

    Raises:
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    cursor = await pool.ask(_TABLE, [schema, name, list(publications)])
    found = await cursor.fetchone()
    if found is None:
        return None
    oid, identity, roots = found
    cursor = await pool.ask(_PUBLICATIONS, [oid, list(publications)])
    following = tuple(
        Following(
            publication,
            frozenset(kind for kind, is_published in zip(_ACTIONS, actions, strict=True) if is_published),
            has_table,
            row_filter,
            tuple(sorted(filter_columns)),
        )
        for publication, *actions, has_table, row_filter, filter_columns in await cursor.fetchall()
    )
    cursor = await pool.ask(_FIELDS, [oid])
    fields = tuple(Field(*row) for row in await cursor.fetchall())
    return Subject(oid, ReplicaIdentity(identity), tuple(roots), fields, following)
