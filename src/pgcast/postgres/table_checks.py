"""What is amiss with published tables: updates that Postgres refuses, old values that it does not write, policies.

Source: PostgreSQL, chapter "Logical Replication", sections "Replica Identity", "Row Filters" and "Column Lists".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.postgres.findings import Finding, error, info, ok
from pgcast.postgres.publications import tables_with_different_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import SqlConnection

# What is listed of a finding; a database may have thousands of tables.
_TABLES_SHOWN: Final = 50

_GENERATED_COLUMNS_ARE_CHECKED_FROM: Final = 180000

# One row for each table of the followed publications but `realtime.messages`, whose rows nobody updates. to_jsonb reads
# columns that a version lacks (12: attgenerated; 15: prattrs, prqual, attnames) as NULL. A dropped index leaves the
# identity 'i' with no index marked indisreplident.
_QUERY: Final = r"""
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relreplident::text, c.relrowsecurity,
        EXISTS (SELECT FROM pg_publication_tables t JOIN pg_publication p USING (pubname)
                WHERE p.pubname = ANY ($1::text[]) AND t.schemaname = n.nspname AND t.tablename = c.relname
                AND (p.pubupdate OR p.pubdelete)),
        ARRAY(SELECT a.attname::text FROM pg_index i
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
              WHERE i.indrelid = c.oid AND CASE c.relreplident
                  WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END),
        ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND coalesce(to_jsonb(a) ->> 'attgenerated', '') <> ''
              AND EXISTS (SELECT FROM pg_publication_tables t
                          WHERE t.pubname = ANY ($1::text[]) AND t.schemaname = n.nspname AND t.tablename = c.relname
                          AND NOT to_jsonb(t) -> 'attnames' ? a.attname::text)),
        ARRAY(SELECT to_jsonb(r) -> 'prattrs' FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
              WHERE r.prrelid = c.oid AND p.pubname = ANY ($1::text[])
              AND jsonb_typeof(to_jsonb(r) -> 'prattrs') = 'array'),
        ARRAY(SELECT DISTINCT a.attname::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
              CROSS JOIN LATERAL regexp_matches(to_jsonb(r) ->> 'prqual', ':varattno (\d+)', 'g') found
              JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = found[1]::int
              WHERE r.prrelid = c.oid AND p.pubname = ANY ($1::text[])),
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
              AND EXISTS (SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                          WHERE r.prrelid = c.oid AND p.pubname = ANY ($1::text[])
                          AND jsonb_typeof(to_jsonb(r) -> 'prattrs') = 'array'
                          AND NOT to_jsonb(r) -> 'prattrs' @> to_jsonb(a.attnum)))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE EXISTS (SELECT FROM pg_publication_tables t
                  WHERE t.pubname = ANY ($1::text[]) AND t.schemaname = n.nspname AND t.tablename = c.relname)
    AND NOT (n.nspname = 'realtime' AND c.relname ~ '^messages(_\d{4}_\d\d_\d\d)?$')
    ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True)
class _Table:
    """A published table, as far as it matters here.

    Attributes:
        name: With its schema, quoted where SQL needs it.
        identity: `d`, `n`, `f` or `i` (pg_class.relreplident).
        has_row_security: Whether row level security is enabled.
        has_updates: Whether UPDATE or DELETE is published: only then Postgres insists on an identity.
        identity_columns: The columns of the key or index that the identity means; empty for `n` and `f`.
        unpublished_generated: Generated columns that some publication leaves out.
        has_column_list: Whether a publication lists its columns.
        filter_columns: The columns that row filters name.
        unlisted: The columns that some column list leaves out.
    """

    name: str
    identity: str
    has_row_security: bool
    has_updates: bool
    identity_columns: frozenset[str]
    unpublished_generated: frozenset[str]
    has_column_list: bool
    filter_columns: frozenset[str]
    unlisted: frozenset[str]

    @property
    def is_full(self) -> bool:
        """Whether the WAL carries whole old rows."""
        return self.identity == "f"


async def check_tables(connection: SqlConnection, publications: Sequence[str]) -> list[Finding]:
    """Return what is amiss with the tables of these publications; one finding for each kind of trouble.

    Args:
        connection: To their database.
        publications: Their names, unquoted; those that do not exist are left out.
    """
    tables = await _list_tables(connection, publications)
    updated = [table for table in tables if table.has_updates]
    found = [
        *_refused_updates(updated, connection.info.server_version),
        *_disagreements(await tables_with_different_columns(connection, publications)),
    ]
    return [*(found or [ok("tables", f"{len(tables)} published, none refuses UPDATE or DELETE")]), *_hints(tables)]


async def _list_tables(connection: SqlConnection, publications: Sequence[str]) -> list[_Table]:
    cursor = await connection.execute(_QUERY, [list(publications)])
    return [
        _Table(
            name=name,
            identity=identity,
            has_row_security=has_row_security,
            has_updates=has_updates,
            identity_columns=frozenset(key),
            unpublished_generated=frozenset(generated),
            has_column_list=bool(lists),
            filter_columns=frozenset(filtered),
            unlisted=frozenset(unlisted),
        )
        for name, identity, has_row_security, has_updates, key, generated, lists, filtered, unlisted
        in await cursor.fetchall()
    ]  # fmt: skip


def _refused_updates(tables: Sequence[_Table], server_version: int) -> list[Finding]:
    """Find the tables whose UPDATE and DELETE Postgres refuses: 55000 for the first kind, 42P10 for the others."""
    return [
        *_each(
            "replica identity",
            "UPDATE and DELETE fail without a replica identity",
            [table for table in tables if not table.is_full and not table.identity_columns],
            sql="ALTER TABLE {} REPLICA IDENTITY FULL;",
            hint="or give the table a primary key, and REPLICA IDENTITY DEFAULT",
        ),
        *_each(
            "column list",
            "UPDATE and DELETE fail: the replica identity is FULL, and the publication lists columns",
            [table for table in tables if table.is_full and table.has_column_list],
            sql="ALTER TABLE {} REPLICA IDENTITY DEFAULT;",
            hint="or publish the table without a column list",
        ),
        *_each(
            "column list",
            "UPDATE and DELETE fail: the column list leaves out a column of the replica identity",
            [table for table in tables if table.identity_columns & table.unlisted],
            hint="put the key's columns into the list: ALTER PUBLICATION ... SET TABLE ... (...)",
        ),
        *_each(
            "row filter",
            "UPDATE and DELETE fail: the row filter names a column outside the replica identity",
            [table for table in tables if not table.is_full and table.filter_columns - table.identity_columns],
            sql="ALTER TABLE {} REPLICA IDENTITY FULL;",
        ),
        *_each(
            "generated columns",
            "UPDATE and DELETE fail: the replica identity is FULL, and generated columns are not published",
            [
                table
                for table in tables
                if table.is_full and table.unpublished_generated
                if server_version >= _GENERATED_COLUMNS_ARE_CHECKED_FROM
            ],
            sql="ALTER TABLE {} REPLICA IDENTITY DEFAULT;",
            hint="or, for stored ones, ALTER PUBLICATION ... SET (publish_generated_columns = stored)",
        ),
    ]


def _disagreements(tables: Sequence[str]) -> list[Finding]:
    if not tables:
        return []
    trouble = "the replication stream ends at the first change: publications disagree about the columns"
    hint = "list the same columns in all of PUBLICATIONS, or follow only one of them"
    return [error("column list", f"{trouble}: {_listed(tables)}", hint=hint)]


def _each(name: str, trouble: str, tables: Sequence[_Table], *, sql: str = "", hint: str = "") -> list[Finding]:
    if not tables:
        return []
    return [error(name, f"{trouble}: {_names(tables)}", sql=_for_each(sql, tables), hint=hint)]


def _hints(tables: Sequence[_Table]) -> list[Finding]:
    findings = []
    keyed = [table for table in tables if table.identity_columns]
    if keyed:
        findings.append(
            info(
                "old records",
                f"old_record holds only the key: {_names(keyed)}",
                sql=_for_each("ALTER TABLE {} REPLICA IDENTITY FULL;", keyed),
                hint="only where clients need the row as it was before; it makes the WAL larger",
            )
        )
    secured = [table for table in tables if table.has_row_security]
    if secured:
        findings.append(
            info(
                "row level security",
                f"enabled: {_names(secured)}",
                hint="its policies are not evaluated for changes yet: where clients need tokens, only roles that bypass"
                " it get changes of these tables; where they need none, everybody does",
            )
        )
    return findings


def _names(tables: Sequence[_Table]) -> str:
    return _listed([table.name for table in tables])


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_TABLES_SHOWN])
    more = len(names) - _TABLES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _for_each(sql: str, tables: Sequence[_Table]) -> str:
    if not sql:
        return ""
    lines = [sql.replace("{}", table.name) for table in tables[:_TABLES_SHOWN]]
    more = len(tables) - _TABLES_SHOWN
    return "\n".join([*lines, f"-- and so on, for {more} more"] if more > 0 else lines)
