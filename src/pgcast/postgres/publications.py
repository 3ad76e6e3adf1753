"""Publications: which exist, what they publish, and which tables they contain.

Every function takes an open connection, replicating or not.

Source: PostgreSQL, chapters "pg_publication" and "pg_publication_tables".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import NotPrepared
from pgcast.postgres.refusals import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import SqlConnection

_HAS_COLUMN_LISTS_FROM: Final = 150_000
_TABLES_SHOWN: Final = 20

# attnames are a table's published columns, without a list all of them. A list of all columns is no list; for version 15
# only where the generated ones are in it, which it counts among all columns here too.
_DISAGREEING: Final = """
    SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_publication_tables
    WHERE pubname IN ({names})
    GROUP BY schemaname, tablename HAVING count(DISTINCT attnames) > 1 ORDER BY schemaname, tablename
"""

_ACTIONS: Final = ("insert", "update", "delete", "truncate")


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication.

    Attributes:
        name: Its name, unquoted.
        has_all_tables: FOR ALL TABLES: also those that are made later.
        actions: Of `insert`, `update`, `delete`, `truncate` (11+), those it publishes.
        table_count: How many tables it contains now; partitions count, or their root, as it publishes them.
    """

    name: str
    has_all_tables: bool
    actions: frozenset[str]
    table_count: int


def create_publication_sql(name: str) -> str:
    """Return the statement that makes a publication of all tables; only a superuser may run it."""
    return f"CREATE PUBLICATION {quote_identifier(name)} FOR ALL TABLES;"


async def list_publications(connection: SqlConnection) -> list[Publication]:
    """Return all publications of the database, by name."""
    # to_jsonb reads pubtruncate, which version 10 lacks, as NULL there.
    cursor = await connection.execute("""
        SELECT pubname, puballtables, pubinsert, pubupdate, pubdelete, (to_jsonb(p) ->> 'pubtruncate')::boolean,
               (SELECT count(*) FROM pg_publication_tables t WHERE t.pubname = p.pubname)
        FROM pg_publication p ORDER BY pubname
    """)
    return [
        Publication(
            name=name,
            has_all_tables=has_all_tables,
            actions=frozenset(action for action, is_published in zip(_ACTIONS, published, strict=True) if is_published),
            table_count=table_count,
        )
        for name, has_all_tables, *published, table_count in await cursor.fetchall()
    ]  # fmt: skip


async def tables_with_different_columns(connection: SqlConnection, names: Sequence[str]) -> list[str]:
    """Return the tables, quoted where SQL needs it, of which these publications publish different columns.

    Postgres ends the stream at the first change of such a table (15+).
    """
    if connection.info.server_version < _HAS_COLUMN_LISTS_FROM or len(names) < 2:
        return []
    query = _DISAGREEING.replace("{names}", ", ".join(map(quote_literal, names)))
    cursor = await connection.execute(query.encode())
    return [table for (table,) in await cursor.fetchall()]


async def _check_columns(connection: SqlConnection, names: Sequence[str], *, place: str) -> None:
    tables = await tables_with_different_columns(connection, names)
    if tables:
        more = f" and {len(tables) - _TABLES_SHOWN} more" if len(tables) > _TABLES_SHOWN else ""
        raise NotPrepared(
            f"{place}: the publications {', '.join(map(quote_identifier, names))} publish different columns of"
            f" {', '.join(tables[:_TABLES_SHOWN])}{more}, and Postgres ends the stream at such a table's first change",
            hint="give the table the same column list in each of them (ALTER PUBLICATION ... SET TABLE ... (...);), or"
            " follow only one of them with PUBLICATIONS",
        )


async def check_publications(connection: SqlConnection, names: Sequence[str], *, place: str) -> None:
    """Make sure that all these publications exist, and agree about the columns of their tables.

    Postgres itself checks too late: up to version 17 it ends the stream at the next row change, and the slot stays
    stuck there; from 18 on it silently publishes nothing.

    Args:
        connection: To the database that the publications belong to.
        names: Their names, unquoted.
        place: The database, for the message.

    Raises:
        NotPrepared: One or more are missing, and the hint makes them; or they disagree about a table's columns.
    """
    existing = [publication.name for publication in await list_publications(connection)]
    missing = [name for name in names if name not in existing]
    if not missing:
        await _check_columns(connection, names, place=place)
        return
    found = ", ".join(map(quote_identifier, existing)) or "none"
    raise NotPrepared(
        f"{place}: no publication {', '.join(map(quote_identifier, missing))} (there: {found})",
        hint=" ".join(map(create_publication_sql, missing))
        + " or, for some tables only, CREATE PUBLICATION ... FOR TABLE a, b; PUBLICATIONS says which to follow",
    )
