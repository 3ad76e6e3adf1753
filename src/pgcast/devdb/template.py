"""A database for each test: copied from a template in milliseconds, dropped whatever still holds on to it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgcast.devdb.cluster import Cluster

_DROP_DEADLINE_S = 10.0
_POLL_S = 0.005

# PostgreSQL, chapter "System Administration Functions". The asking backend is not among them: it is elsewhere.
_TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %(name)s
    UNION ALL
    SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = %(name)s AND active
"""
_DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active"
_STILL_THERE = """
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = %(name)s AND backend_type <> 'autovacuum worker')
        + (SELECT count(*) FROM pg_replication_slots WHERE database = %(name)s)
"""


@dataclass(frozen=True, slots=True)
class Database:
    """A database of a cluster.

    Attributes:
        cluster: The cluster, running.
        name: Its name.
    """

    cluster: Cluster
    name: str

    @property
    def dsn(self) -> str:
        """Its URL through the unix socket."""
        return self.cluster.dsn(self.name)

    @property
    def tcp_dsn(self) -> str:
        """Its URL through loopback, with the password."""
        return self.cluster.tcp_dsn(self.name)

    def connect(self) -> psycopg.Connection:
        """Return a connection in autocommit mode, as superuser."""
        return self.cluster.connect(self.name)

    def execute(
        self, statement: LiteralString | sql.SQL | sql.Composed, params: Sequence[Any] | None = None
    ) -> list[Any]:
        """Run statements on a connection of its own, and return the rows of the last one, if it has any.

        Args:
            statement: One statement; several, separated by semicolons, if there are no parameters.
            params: Its parameters.
        """
        with self.connect() as connection:
            cursor = connection.execute(statement, params)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def drop(self, *, deadline_s: float = _DROP_DEADLINE_S) -> None:
        """Drop it with its replication slots, ending whatever is connected; nothing happens if it is gone.

        Raises:
            PgcastError: Something keeps holding on to it.
        """
        with self.cluster.connect() as connection:
            drop_database(connection, self.name, deadline_s=deadline_s)


@dataclass(frozen=True, slots=True)
class Template:
    """A database that others are copied from; nobody can connect to it.

    Attributes:
        cluster: The cluster, running.
        name: Its name.
    """

    cluster: Cluster
    name: str

    @classmethod
    def create(cls, cluster: Cluster, statements: Iterable[LiteralString] = ()) -> Template:
        """Make a template.

        Args:
            cluster: A running cluster.
            statements: What every copy is to contain.
        """
        template = cls(cluster, _name("template"))
        with cluster.connect() as connection:
            _create(connection, template.name, "template1")
            with cluster.connect(template.name) as inside:
                for statement in statements:
                    inside.execute(statement)
            _close(connection, template.name)
        return template

    def copy(self) -> Database:
        """Return a new database with the template's contents."""
        database = Database(self.cluster, _name("db"))
        with self.cluster.connect() as connection:
            _create(connection, database.name, self.name)
        return database


def drop_database(connection: psycopg.Connection, name: str, *, deadline_s: float = _DROP_DEADLINE_S) -> None:
    """Drop a database with its replication slots, ending whatever is connected; nothing happens if it is gone.

    Args:
        connection: To another database of the cluster, in autocommit mode, as superuser.
        name: The database.
        deadline_s: How long to try.

    Raises:
        PgcastError: Something keeps holding on to it.
    """
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
        return
    # First shut the door: a client that is cut off connects again at once.
    _close(connection, name)
    ends = time.monotonic() + deadline_s
    while True:
        connection.execute(_TERMINATE, {"name": name})
        try:
            connection.execute(_DROP_SLOTS, [name])
            (still_there,) = connection.execute(_STILL_THERE, {"name": name}).fetchone() or (0,)
            if not still_there:
                connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
                return
        except (psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject) as error:
            # Between the question and the deed, somebody took or dropped a slot.
            still_there = error.diag.message_primary
        if time.monotonic() > ends:
            raise PgcastError(f"database {name} is still in use after {deadline_s:g} s: {still_there}")
        time.sleep(_POLL_S)


def _create(connection: psycopg.Connection, name: str, template: str) -> None:
    connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))


def _close(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))


def _name(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(6)}"
