"""Publications: which exist, what they publish, and which tables they contain.

Every function takes an open connection, replicating or not.

Source: PostgreSQL, chapters "pg_publication" and "pg_publication_tables".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import NotPrepared
from pgcast.postgres.refusals import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import SqlConnection

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


async def check_publications(connection: SqlConnection, names: Sequence[str], *, place: str) -> None:
    """Make sure that all these publications exist.

    Postgres itself checks too late: up to version 17 it ends the stream at the next row change, and the slot stays
    stuck there; from 18 on it silently publishes nothing.

    Args:
        connection: To the database that the publications belong to.
        names: Their names, unquoted.
        place: The database, for the message.

    Raises:
        NotPrepared: One or more are missing; the hint makes them.
    """
    existing = [publication.name for publication in await list_publications(connection)]
    missing = [name for name in names if name not in existing]
    if not missing:
        return
    found = ", ".join(map(quote_identifier, existing)) or "none"
    raise NotPrepared(
        f"{place}: no publication {', '.join(map(quote_identifier, missing))} (there: {found})",
        hint=" ".join(map(create_publication_sql, missing))
        + " or, for some tables only, CREATE PUBLICATION ... FOR TABLE a, b; PUBLICATIONS says which to follow",
    )
