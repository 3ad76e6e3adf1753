"""The tables' present rows over HTTP, with which the demo's page begins.

A join means from now on, so a page that wants the present rows as well joins first, fetches the rows after the reply,
and then applies all changes that came since the reply: so it misses nothing. A change that the rows contain already is
applied a second time, which is harmless, because it carries the whole row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
import psycopg
from psycopg import sql
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

_TABLES: Final = """
    SELECT n.nspname, c.relname,
        (SELECT json_agg(json_build_object('name', a.attname, 'type', t.typname) ORDER BY a.attnum)
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT json_agg(a.attname ORDER BY array_position(i.indkey::int2[], a.attnum))
         FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = c.oid AND i.indisprimary)
    FROM pg_publication_tables p
    JOIN pg_namespace n ON n.nspname = p.schemaname
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
    WHERE p.pubname = %s
    ORDER BY c.oid
"""
_MAX_ROWS: Final = 200


def rows_route(dsn: str, publication: str) -> Route:
    """Return the route `GET /demo/rows`.

    It answers with `{"tables": [{"schema", "table", "columns", "key", "rows"}]}`: columns as in a change, the names of
    the primary key's columns (null without one), and the latest 200 rows by that key, latest first.

    Args:
        dsn: The database.
        publication: Whose tables.
    """

    async def rows(request: Request) -> Response:
        del request
        content: dict[str, Any]
        try:
            content, status = {"tables": await _tables_of(dsn, publication)}, 200
        except psycopg.Error as error:
            content, status = {"error": str(error).partition("\n")[0]}, 503
        return Response(orjson.dumps(content), status, {"Cache-Control": "no-store"}, "application/json")

    return Route("/demo/rows", rows)


async def _tables_of(dsn: str, publication: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        return [
            {"schema": schema, "table": name, "columns": columns, "key": key}
            | {"rows": await _rows_of(connection, schema, name, key)}
            for schema, name, columns, key in await _ask(connection, _TABLES, (publication,))
        ]


async def _rows_of(
    connection: psycopg.AsyncConnection, schema: str, name: str, key: list[str] | None
) -> orjson.Fragment:
    """Return a table's rows as Postgres writes them in JSON, so that no number loses a digit."""
    latest_first = sql.SQL(", ").join(sql.SQL("{} DESC").format(sql.Identifier(column)) for column in key or ())
    query = sql.SQL("SELECT coalesce(json_agg(to_json(r)), '[]')::text FROM (SELECT * FROM {}{} LIMIT {}) r").format(
        sql.Identifier(schema, name), sql.SQL(" ORDER BY ") + latest_first if key else sql.SQL(""), _MAX_ROWS
    )
    (text,), *_ = await _ask(connection, query)
    return orjson.Fragment(text)


async def _ask(
    connection: psycopg.AsyncConnection, query: str | sql.Composed, parameters: tuple[Any, ...] = ()
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query, parameters or None)
    return await cursor.fetchall()
