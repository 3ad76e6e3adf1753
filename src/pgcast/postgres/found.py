"""What is there already of all that `pgcast init` might make, and what the role may do, read from the catalog.

Source: PostgreSQL, part "System Catalogs", and chapter "System Information Functions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pgcast.postgres.partitions import Partition, list_partitions
from pgcast.postgres.routines import MARK, auth_routines, realtime_routines, send_routine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from pgcast.postgres.connection import SqlConnection, Target

ROLES: Final = ("anon", "authenticated", "service_role")
"""The database roles that clients act as, by the claim `role` of their tokens."""
_SCHEMAS: Final = ("realtime", "auth", "pgcast")
_BYPASS_IS_GIVEN_ON_FROM: Final = 160_000


@dataclass(frozen=True, slots=True)
class FoundPublication:
    """A publication.

    Attributes:
        has_all_tables: FOR ALL TABLES.
        has_inserts: Whether it publishes INSERT.
        is_owned: Whether the role may alter it.
        tables: What it contains, as (schema, name); a partitioned table beside its partitions.
    """

    has_all_tables: bool
    has_inserts: bool
    is_owned: bool
    tables: frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FoundMessages:
    """The table `realtime.messages`.

    Attributes:
        is_ours: Whether `pgcast init` made it.
        is_owned: Whether the role may alter it.
        has_row_security: Whether row level security is enabled.
        is_usable: Whether the role may read it and insert into it, as far as privileges go.
        is_secured: Whether row level security applies to the role, too.
    """

    is_ours: bool
    is_owned: bool
    has_row_security: bool
    is_usable: bool
    is_secured: bool


@dataclass(frozen=True, slots=True)
class FoundRoutine:
    """A function: whether `pgcast init` made it, and its body."""

    is_ours: bool
    body: str


@dataclass(frozen=True, slots=True)
class Found:
    """A database, as far as `pgcast init` is concerned.

    Attributes:
        place: The database, for people.
        database: Its name.
        role: Who asks.
        version: As `server_version_num`.
        wal_level: The setting.
        today: The date, UTC.
        is_superuser: Whether the role is one.
        may_create: Whether it may create schemas and publications.
        may_create_roles: Whether it may create roles.
        may_bypass: Whether it may create roles that bypass row level security.
        roles: Of those that clients act as, the ones that exist.
        memberships: Those that the role may act as.
        schemas: Of those that are concerned, the ones that exist.
        own_schemas: Those in which the role may create.
        messages: The table; None where it is not there.
        partitions: Its partitions.
        routines: The functions that are there, by signature.
        granted: Of the roles that clients act as, those that have their rights on the messages.
        auth_granted: Those that may use the schema `auth`.
        publications: All, by name.
        tables: Of the tables asked for, those that exist, as (schema, name).
    """

    place: str
    database: str
    role: str
    version: int
    wal_level: str
    today: date
    is_superuser: bool
    may_create: bool
    may_create_roles: bool
    may_bypass: bool
    roles: frozenset[str]
    memberships: frozenset[str]
    schemas: frozenset[str]
    own_schemas: frozenset[str]
    messages: FoundMessages | None
    partitions: Sequence[Partition]
    routines: Mapping[str, FoundRoutine]
    granted: frozenset[str]
    auth_granted: frozenset[str]
    publications: Mapping[str, FoundPublication]
    tables: frozenset[tuple[str, str]]


async def look(connection: SqlConnection, target: Target, tables: Sequence[tuple[str, str]] = ()) -> Found:
    """Read what is there; changes nothing.

    Args:
        connection: To the database.
        target: The same, for its name.
        tables: Which tables to look for, as (schema, name).
    """
    version = connection.info.server_version
    cursor = await connection.execute(_ROLE)
    database, role, wal_level, today, is_superuser, may_create, creates_roles, bypasses = await _one(cursor)
    schemas = await _names(connection, _EXISTING_SCHEMAS, [list(_SCHEMAS)])
    messages = await _messages(connection)
    membership = "SET" if version >= _BYPASS_IS_GIVEN_ON_FROM else "MEMBER"
    return Found(
        place=str(target),
        database=database,
        role=role,
        version=version,
        wal_level=wal_level,
        today=today,
        is_superuser=is_superuser,
        may_create=may_create,
        may_create_roles=is_superuser or creates_roles,
        may_bypass=is_superuser or (bypasses and version >= _BYPASS_IS_GIVEN_ON_FROM),
        roles=await _names(connection, "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[])", [list(ROLES)]),
        memberships=await _names(connection, _MEMBERSHIPS, [list(ROLES), membership]),
        schemas=schemas,
        own_schemas=await _names(connection, _OWN_SCHEMAS, [list(_SCHEMAS)]),
        messages=messages,
        partitions=await list_partitions(connection) or () if messages is not None else (),
        routines=await _routines(connection, version),
        granted=frozenset() if messages is None else await _names(connection, _GRANTED, [list(ROLES)]),
        auth_granted=await _names(connection, _USING, [list(ROLES), "auth"]) if "auth" in schemas else frozenset(),
        publications=await _publications(connection),
        tables=await _tables(connection, tables),
    )


_ROLE: Final = """
    SELECT current_database(), rolname, current_setting('wal_level'), timezone('utc', now())::date, rolsuper,
           has_database_privilege(current_database(), 'CREATE'), rolcreaterole, rolbypassrls
    FROM pg_roles WHERE rolname = current_user
"""
_EXISTING_SCHEMAS: Final = "SELECT nspname FROM pg_namespace WHERE nspname = ANY ($1::text[])"
_OWN_SCHEMAS: Final = _EXISTING_SCHEMAS + " AND has_schema_privilege(oid, 'CREATE')"
_MEMBERSHIPS: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[]) AND pg_has_role(oid, $2::text)"
_GRANTED: Final = """
    SELECT r.rolname FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.rolname = ANY ($1::text[]) AND n.nspname = 'realtime' AND c.relname = 'messages'
    AND has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_table_privilege(r.oid, c.oid, 'SELECT')
    AND has_table_privilege(r.oid, c.oid, 'INSERT') AND has_table_privilege(r.oid, c.oid, 'UPDATE')
"""
_USING: Final = (
    "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[]) AND has_schema_privilege(oid, $2::text, 'USAGE')"
)
_MESSAGES: Final = """
    SELECT coalesce(obj_description(c.oid, 'pg_class') LIKE $1, false),
           pg_has_role(c.relowner, 'USAGE'), c.relrowsecurity,
           has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
               AND has_table_privilege(c.oid, 'INSERT'),
           c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
               AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.rolname = current_user
    WHERE n.nspname = 'realtime' AND c.relname = 'messages' AND c.relkind IN ('r', 'p')
"""
_ROUTINES: Final = """
    SELECT found.signature, coalesce(obj_description(found.oid, 'pg_proc') LIKE $2, false), found.prosrc
    FROM (SELECT p.oid, p.prosrc,
                 n.nspname || '.' || p.proname || '(' || oidvectortypes(p.proargtypes) || ')' AS signature
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace) found
    WHERE found.signature = ANY ($1::text[])
"""

# A partitioned table is listed by its partitions, unless they are published as it.
_PUBLICATIONS: Final = """
    SELECT p.pubname, p.puballtables, p.pubinsert, pg_has_role(p.pubowner, 'USAGE'),
           ARRAY(SELECT n.nspname::text FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid ORDER BY c.oid),
           ARRAY(SELECT c.relname::text FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid ORDER BY c.oid),
           ARRAY(SELECT schemaname::text FROM pg_publication_tables t WHERE t.pubname = p.pubname
                 ORDER BY schemaname, tablename),
           ARRAY(SELECT tablename::text FROM pg_publication_tables t WHERE t.pubname = p.pubname
                 ORDER BY schemaname, tablename)
    FROM pg_publication p
"""


async def _one(cursor: Any) -> tuple[Any, ...]:
    row, *_ = await cursor.fetchall()
    return tuple(row)


async def _names(connection: SqlConnection, query: str, parameters: Sequence[Any]) -> frozenset[str]:
    cursor = await connection.execute(query.encode(), parameters)
    return frozenset(name for (name,) in await cursor.fetchall())


async def _messages(connection: SqlConnection) -> FoundMessages | None:
    cursor = await connection.execute(_MESSAGES, [f"{MARK}%"])
    row = await cursor.fetchone()
    return None if row is None else FoundMessages(*row)


async def _routines(connection: SqlConnection, version: int) -> dict[str, FoundRoutine]:
    known = [*realtime_routines(version), *auth_routines(), send_routine()]
    cursor = await connection.execute(_ROUTINES, [[routine.signature for routine in known], f"{MARK}%"])
    return {signature: FoundRoutine(is_ours, body) for signature, is_ours, body in await cursor.fetchall()}


async def _publications(connection: SqlConnection) -> dict[str, FoundPublication]:
    cursor = await connection.execute(_PUBLICATIONS)
    return {
        name: FoundPublication(
            has_all_tables, has_inserts, is_owned, _pairs(schemas, names) | _pairs(other_schemas, other_names)
        )
        for name, has_all_tables, has_inserts, is_owned, schemas, names, other_schemas, other_names
        in await cursor.fetchall()
    }  # fmt: skip


async def _tables(connection: SqlConnection, tables: Sequence[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    cursor = await connection.execute(
        """
        SELECT n.nspname, c.relname FROM unnest($1::text[], $2::text[]) wanted (schema, name)
        JOIN pg_namespace n ON n.nspname = wanted.schema
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name AND c.relkind IN ('r', 'p')
        """,
        [[schema for schema, _ in tables], [name for _, name in tables]],
    )
    return frozenset(await cursor.fetchall())


def _pairs(schemas: Iterable[str], names: Iterable[str]) -> frozenset[tuple[str, str]]:
    return frozenset(zip(schemas, names, strict=True))
