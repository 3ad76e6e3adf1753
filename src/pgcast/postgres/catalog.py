"""What only the catalog knows: types, primary keys, row security, published tables, and what Postgres makes of a text.

The WAL tells of the past, the catalog of now: so tables are matched by OID and columns by name, and what the catalog
has forgotten meanwhile is filled from the announcement.

Source: PostgreSQL, part "System Catalogs".
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.engine.partitions import Attached
from pgcast.engine.ports import PublishedTable
from pgcast.model.errors import BindingError, DatabaseError
from pgcast.model.messages import MESSAGES_SCHEMA, MESSAGES_TABLE, is_messages_table
from pgcast.model.relation import ReplicaIdentity, Table, TypeShape
from pgcast.model.snapshot import Snapshot, parse_snapshot
from pgcast.postgres.collations import collated, collations_of
from pgcast.postgres.identities import identities_of
from pgcast.postgres.judging import judge
from pgcast.postgres.pool import Pool
from pgcast.postgres.privileges import fingerprint_of_roles, sights_of
from pgcast.postgres.refusals import quote_identifier, server_text, translate
from pgcast.postgres.types import FIRST_USER_OID, UNKNOWN, shapes_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pgcast.matching.conditions import Question
    from pgcast.model.relation import Relation
    from pgcast.model.sight import Sight
    from pgcast.postgres.connection import Target

_CONNECTIONS: Final = 4
_TIMEOUT_S: Final = 5.0
_JUDGES: Final = 2
_JUDGE_S: Final = 2.0
_PUBLISHED_FOR_S: Final = 1.0
_CASTS_KEPT: Final = 10_000
_USER_CASTS_KEPT_S: Final = 1.0  # an enum's values may be renamed
_CAST_LENGTH_LIMIT: Final = 1000

# Of the input of date and time types, these mean something else each time.
_MOVING: Final = re.compile("now|today|tomorrow|yesterday", re.IGNORECASE)

# Classes of SQLSTATE that speak of the connection or the server, not of the statement: connection exception, no such
# database, authorization, resources, operator intervention, system error.
_SERVER_CLASSES: Final = frozenset({"08", "3D", "28", "53", "57", "58"})

_KEY: Final = """
    SELECT c.relrowsecurity, c.relkind = 'p', ARRAY(
        SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary),
        EXISTS (SELECT FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent
                JOIN pg_namespace n ON n.oid = p.relnamespace
                WHERE h.inhrelid = c.oid AND n.nspname = 'realtime' AND p.relname = 'messages')
    FROM pg_class c WHERE c.oid = $1::oid
"""

# For each leaf of a partitioned table the columns of its own replica identity.
_LEAF_IDENTITIES: Final = """
    WITH RECURSIVE tree (oid) AS (
        SELECT $1::oid
        UNION
        SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
    )
    SELECT ARRAY(
        SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (c.relreplident = 'f' OR a.attnum = ANY (i.indkey)))
    FROM tree
    JOIN pg_class c ON c.oid = tree.oid AND c.relkind = 'r'
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND CASE c.relreplident
        WHEN 'd' THEN i.indisprimary AND i.indimmediate WHEN 'i' THEN i.indisreplident ELSE false END
"""

_SCHEMAS: Final = """
    SELECT c.oid::int8, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ($1::oid[])
"""

_SNAPSHOT: Final = "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text"
_SNAPSHOT_BELOW_13: Final = "SELECT txid_current_snapshot()::text, pg_current_wal_insert_lsn()::text"

# {names} (15+) are the published columns; version 15 counts generated columns in, which (12-17) are never published. A
# table in two publications comes once, with the columns of both. The view makes its list of names anew wherever it is
# looked at, so it is looked at once for each table (OFFSET 0), not for each column: a table of 1,600 columns takes 50
# ms in place of 15 s.
_PUBLISHED: Final = """
    SELECT oid::int8, nspname, relname, ARRAY_AGG(attname::text ORDER BY attnum),
           ARRAY_AGG(atttypid::int8 ORDER BY attnum), relrowsecurity
    FROM (
        SELECT DISTINCT c.oid, n.nspname, c.relname, c.relrowsecurity, a.attnum, a.attname, a.atttypid
        FROM (
            SELECT schemaname, tablename, {names} AS names FROM pg_publication_tables
            WHERE pubname = ANY ($1::text[]) OFFSET 0
        ) t
        JOIN pg_namespace n ON n.nspname = t.schemaname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE (t.names IS NULL OR a.attname = ANY (t.names)) AND {is_sent}
    ) columns
    GROUP BY oid, nspname, relname, relrowsecurity ORDER BY nspname, relname
"""
_HAS_GENERATED_FROM: Final = 120_000
_HAS_COLUMN_LISTS_FROM: Final = 150_000
_SENDS_GENERATED_FROM: Final = 180_000

# A publication of all tables names all roots where partitions are published as rows of theirs; else each leaf for
# itself, whoever's partition it is. A partition that is being detached concurrently (14+) counts as none.
_ATTACHED: Final = """
    WITH RECURSIVE followed AS (
        SELECT oid, puballtables AND to_jsonb(p) ->> 'pubviaroot' = 'true' AS has_all_roots
        FROM pg_publication p WHERE pubname = ANY ($1::text[])
    ), tree (oid) AS (
        SELECT prrelid FROM pg_publication_rel WHERE prpubid IN (SELECT oid FROM followed)
        UNION
        SELECT oid FROM pg_class WHERE relkind = 'p' AND EXISTS (SELECT FROM followed WHERE has_all_roots)
        UNION
        SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
    )
    SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text, ARRAY(
        SELECT ARRAY[i.inhrelid::int8, i.inhparent::int8, i.xmin::text::int8]
        FROM pg_inherits i
        JOIN tree ON tree.oid = i.inhparent
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
        WHERE to_jsonb(i) ->> 'inhdetachpending' IS DISTINCT FROM 'true')
"""


class PostgresCatalog:
    """A Catalog on a few ordinary connections, opened when they are needed.

    Args:
        target: The database.
        publications: The followed publications, unquoted.
        timeout_s: The deadline of each call.
    """

    def __init__(self, target: Target, *, publications: Sequence[str], timeout_s: float = _TIMEOUT_S) -> None:
        self._names = target.names(publications=tuple(publications))
        self._pool = Pool(target, limit=_CONNECTIONS, timeout_s=timeout_s)
        self._judges = Pool(target, limit=_JUDGES, timeout_s=_JUDGE_S)
        self._is_below_13 = False
        self._published: tuple[float, Sequence[PublishedTable]] = (float("-inf"), ())
        self._asking: asyncio.Task[None] | None = None
        # Each with the time until which it holds.
        self._casts: OrderedDict[tuple[int, str], tuple[bytes, float]] = OrderedDict()

    async def describe(self, relation: Relation) -> Table:
        """Complete an announced relation with types, primary key and row security, matched by OID and column name.

        A partition's own identity decides which old values are written, while its root's is announced. So of a
        partitioned table's identity only those columns are left that every leaf's identity has.

        The partitions of `realtime.messages` come as that table, whose changes are only for those who name it.
        """
        try:
            shapes = await shapes_of(self._pool, {column.type_oid for column in relation.columns})
            collations = await collations_of(self._pool, [relation.oid])
            cursor = await self._pool.ask(_KEY, [relation.oid])
            has_row_security, is_partitioned, key, is_stored = await cursor.fetchone() or (False, False, [], False)
            leaves: list[tuple[list[str]]] = []
            if is_partitioned:
                cursor = await self._pool.ask(_LEAF_IDENTITIES, [relation.oid])
                leaves = await cursor.fetchall()
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error
        is_internal = is_stored or is_messages_table(relation.schema, relation.name)
        if is_internal:
            relation = replace(relation, schema=MESSAGES_SCHEMA, name=MESSAGES_TABLE)
        return Table(
            relation=_covered(relation, [names for (names,) in leaves]),
            types=tuple(
                collated(shapes[column.type_oid], relation.oid, column.name, collations) for column in relation.columns
            ),
            primary_key=_key_places(relation, key),
            has_row_security=has_row_security,
            is_internal=is_internal,
        )

    async def altered(self, tables: Collection[Table]) -> Mapping[int, Table | None]:
        """Return those tables, by OID, of which the catalog now says otherwise, as it says now; None if one is gone."""
        type_oids = {shape.oid for table in tables for shape in table.types if shape.oid >= FIRST_USER_OID}
        try:
            cursor = await self._pool.ask(_SCHEMAS, [[table.relation.oid for table in tables]])
            schemas = dict(await cursor.fetchall())
            shapes = await shapes_of(self._pool, type_oids) if type_oids else {}
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error
        found: dict[int, Table | None] = {}
        for table in tables:
            oid = table.relation.oid
            types = tuple(_known(shapes.get(shape.oid), shape) for shape in table.types)
            schema = schemas.get(oid)
            if schema is None:
                found[oid] = None
            elif (schema, types) != (table.schema, table.types):
                found[oid] = replace(table, relation=replace(table.relation, schema=schema), types=types)
        return found

    async def snapshot(self) -> Snapshot:
        """Return the current snapshot and insert position, read in one statement."""
        try:
            return await self._snapshot()
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error

    async def published_tables(self, *, is_fresh: bool = False) -> Sequence[PublishedTable]:
        """Return all tables of the followed publications.

        Args:
            is_fresh: Ask the database after this call; otherwise the answer may be as old as a second.
        """
        oldest = time.monotonic() - (0.0 if is_fresh else _PUBLISHED_FOR_S)
        while self._published[0] < oldest:
            # Those who come while a question is on its way share its answer, or its failure. Where that was asked too
            # early, they share the next one.
            # One that is done is not waited for, lest this loop never lets its callback run.
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask_published_tables(time.monotonic()))
                self._asking.add_done_callback(self._answered)
            await asyncio.shield(self._asking)
        return self._published[1]

    async def sights(self, oids: Collection[int], roles: Collection[str]) -> Mapping[str, Mapping[int, Sight]]:
        """Return what each role may see of each table, by role and table; what does not exist is missing."""
        try:
            return await sights_of(self._pool, oids, roles)
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error

    async def fingerprint_of_roles(self) -> str:
        """Return a text that changes with whatever decides about sights and is announced by no table."""
        try:
            return await fingerprint_of_roles(self._pool)
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error

    async def attached(self) -> Attached:
        """Return which partitions are attached below the tables that the publications name; from version 13 on."""
        try:
            cursor = await self._pool.ask(_ATTACHED, [list(self._names.publications)])
            (snapshot, insert_lsn, partitions), *_ = await cursor.fetchall()
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error
        return Attached(
            frozenset((partition, parent, xid) for partition, parent, xid in partitions),
            parse_snapshot(snapshot, insert_lsn),
        )

    async def canonical_text(self, type_shape: TypeShape, text: str) -> bytes:
        """Cast a text to a type and return the text that the replication stream would carry for that value.

        Of `char(n)` the length is not known, so the text comes back without the stream's padding.
        """
        place = (type_shape.oid, text)
        asked_at = time.monotonic()
        known, holds_until = self._casts.get(place, (b"", 0.0))
        if asked_at < holds_until:
            self._casts.move_to_end(place)
            return known
        canonical = await self._cast(type_shape, text)
        if len(text) <= _CAST_LENGTH_LIMIT and _MOVING.search(text) is None:
            holds_s = float("inf") if type_shape.oid < FIRST_USER_OID else _USER_CASTS_KEPT_S
            self._casts[place] = (canonical, asked_at + holds_s)
            if len(self._casts) > _CASTS_KEPT:
                self._casts.popitem(last=False)
        return canonical

    async def decide(self, question: Question, values: Sequence[bytes | None]) -> list[bool | None]:
        """Return what Postgres says of each value: a comparison that only Postgres can make.

        It has connections of its own, so that one that takes long keeps no join waiting.
        """
        try:
            return await judge(self._judges, question, values)
        except DatabaseError as error:
            if isinstance(error.__cause__, TimeoutError):
                raise BindingError(f"the comparison takes longer than {_JUDGE_S:g} s") from error
            raise
        except psycopg.Error as error:
            if (error.sqlstate or "08")[:2] in _SERVER_CLASSES:
                raise translate(error, self._names, otherwise=DatabaseError) from error
            raise BindingError(server_text(error)) from error

    async def close(self) -> None:
        """Close all connections; twice is safe."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._pool.close()
        await self._judges.close()

    async def _snapshot(self) -> Snapshot:
        if not self._is_below_13:
            try:
                return await self._ask_snapshot(_SNAPSHOT)
            except psycopg.errors.UndefinedFunction:
                self._is_below_13 = True
        return await self._ask_snapshot(_SNAPSHOT_BELOW_13)

    async def _ask_snapshot(self, query: str) -> Snapshot:
        cursor = await self._pool.ask(query)
        (snapshot, insert_lsn), *_ = await cursor.fetchall()
        return parse_snapshot(snapshot, insert_lsn)

    def _answered(self, task: asyncio.Task[None]) -> None:
        if self._asking is task:
            self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waited has it; if nobody did, the loop need not report it

    async def _ask_published_tables(self, now: float) -> None:
        try:
            cursor = await self._pool.ask("SELECT current_setting('server_version_num')::int")
            (version,), *_ = await cursor.fetchall()
            cursor = await self._pool.ask(_published_query(version), [list(self._names.publications)])
            rows = await cursor.fetchall()
            shapes = await shapes_of(self._pool, {type_oid for *_, type_oids, _ in rows for type_oid in type_oids})
            collations = await collations_of(self._pool, [oid for oid, *_ in rows])
            identities = await identities_of(self._pool, [oid for oid, *_ in rows])
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error
        # Of the partitions of `realtime.messages` one stands for all, under the table's name.
        stored = next((oid for oid, schema, name, *_ in rows if is_messages_table(schema, name)), None)
        tables = [
            PublishedTable(
                oid=oid,
                schema=schema,
                name=MESSAGES_TABLE if oid == stored else name,
                columns=tuple(
                    (column, collated(shapes[type_oid], oid, column, collations))
                    for column, type_oid in zip(columns, type_oids, strict=True)
                ),
                identity=identities.get(oid, frozenset()),
                is_secured=is_secured,
            )
            for oid, schema, name, columns, type_oids, is_secured in rows
            if oid == stored or not is_messages_table(schema, name)
        ]
        self._published = (now, tables)

    async def _cast(self, type_shape: TypeShape, text: str) -> bytes:
        if "\0" in text:
            raise BindingError("no value of PostgreSQL's contains a zero byte")
        try:
            cursor = await self._pool.ask(
                "SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
                " WHERE t.oid = $1::oid",
                [type_shape.oid],
            )
            found = await cursor.fetchone()
            if found is None:
                raise BindingError(f"type {quote_identifier(type_shape.name)} does not exist any more")
            schema, name = found
            # Sent without a type, the parameter is read by the type's input function, and the answer is what its output
            # function prints; a cast to text would not be the same for boolean ("true") and char(n).
            cursor = await self._pool.ask(f"SELECT $1::{quote_identifier(schema)}.{quote_identifier(name)}", [text])
        except psycopg.Error as error:
            if (error.sqlstate or "08")[:2] in _SERVER_CLASSES:
                raise translate(error, self._names, otherwise=DatabaseError) from error
            raise BindingError(server_text(error)) from error
        value = cursor.pgresult.get_value(0, 0) if cursor.pgresult is not None else None
        if value is None:
            raise BindingError(f"{quote_identifier(type_shape.name)} makes NULL of that value")
        return bytes(value)


def _published_query(version: int) -> str:
    """Return the question for the published tables that a version (as `server_version_num`) understands."""
    has_generated = _HAS_GENERATED_FROM <= version < _SENDS_GENERATED_FROM
    return _PUBLISHED.format(
        names="attnames" if version >= _HAS_COLUMN_LISTS_FROM else "NULL::name[]",
        is_sent="a.attgenerated = ''" if has_generated else "true",
    )


def _known(now: TypeShape | None, then: TypeShape) -> TypeShape:
    """Return the shape of now, unless the type is built in or gone; the collation is the column's, not the type's."""
    return then if now is None or now.name == UNKNOWN else replace(now, collation=then.collation)


def _covered(relation: Relation, identities: Sequence[Sequence[str]]) -> Relation:
    """Return the relation with those columns flagged that all these identities have too."""
    columns = tuple(
        replace(column, is_key=column.is_key and all(column.name in names for names in identities))
        for column in relation.columns
    )
    return relation if columns == relation.columns else replace(relation, columns=columns)


def _key_places(relation: Relation, key: Sequence[str]) -> tuple[int, ...]:
    """Return the places of the primary key's columns; none, where a column of it cannot be found."""
    if relation.identity is ReplicaIdentity.DEFAULT:
        # The announcement's flags are the primary key, and as of then.
        return tuple(place for place, column in enumerate(relation.columns) if column.is_key)
    places = {column.name: place for place, column in enumerate(relation.columns)}
    return tuple(sorted(places[name] for name in key)) if all(name in places for name in key) else ()
