"""A place of its own for each test: a schema in a database that one server follows for the whole module."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from fix_node import Node, node_factory
from realtime_client import RealtimeClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from pgcast.devdb.template import Database, Template


@dataclass(frozen=True)
class Place:
    """A schema, in which names need no schema, and the server that follows it."""

    database: Database
    node: Node
    schema: str

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            self.database.dsn, autocommit=True, connect_timeout=10, options=f"-c search_path={self.schema},pg_catalog"
        )

    def execute(self, statements: str, params: Sequence[Any] | None = None) -> list[Any]:
        """Run statements, one transaction unless they say otherwise; return the rows of the last one."""
        with self.connect() as connection:
            cursor = connection.execute(statements, params)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    @contextlib.asynccontextmanager
    async def followed(self, **binding: str) -> AsyncIterator[RealtimeClient]:
        """A client that is told of everything that happens here, or of what a binding wants."""
        async with RealtimeClient(self.node.url) as client:
            await client.join("realtime:room", {"event": "*", "schema": self.schema, **binding})
            yield client


@pytest.fixture(scope="module")
def followed_database(
    empty_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Node]]:
    database = empty_template.copy()
    database.execute("create publication supabase_realtime for all tables")
    try:
        with node_factory(tmp_path_factory.mktemp("node")) as start:
            yield database, start(database.dsn)
    finally:
        database.drop()


@pytest.fixture
def place(followed_database: tuple[Database, Node]) -> Iterator[Place]:
    database, node = followed_database
    made = Place(database, node, f"place_{secrets.token_hex(4)}")
    made.execute(f"create schema {made.schema}")
    yield made
    made.execute(f"drop schema {made.schema} cascade")


def rows_of(changes: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return of each change what happened, the new row and the old row; None where the message has none."""
    return [(change["type"], change.get("record"), change.get("old_record")) for change in changes]
