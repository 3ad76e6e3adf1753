"""A row written as JSON, as the replication stream would carry it: cast by Postgres, read by the row reader.

Source: PostgreSQL, chapters "JSON Functions and Operators" (json_to_record), "Row Filters" and "Logical Replication
Message Formats" (TupleData).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pgcast.changes.rows import make_row_reader
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError
from pgcast.model.relation import ReplicaIdentity
from pgcast.postgres.refusals import quote_identifier, server_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgcast.model.change import Change
    from pgcast.model.relation import Table
    from pgcast.postgres.pool import Pool
    from pgcast.postgres.publishing import Field

    Row = Mapping[str, bytes | None]


async def cast_row(pool: Pool, fields: Sequence[Field], row: bytes) -> dict[str, bytes | None]:
    """Return the text of some columns' values, None for NULL.

    Args:
        pool: Who casts.
        fields: The columns.
        row: A JSON object; what it lacks is NULL.

    Raises:
        BindingError: A value is none of its column's type; the message is Postgres' own.
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    if not fields:
        return {}
    names = ", ".join(quote_identifier(field.name) for field in fields)
    try:
        cursor = await pool.ask(f"SELECT {names} FROM {_given(fields)}", [row.decode()])  # noqa: S608 - quoted names
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise BindingError(server_text(error)) from error
    result = cursor.pgresult
    # The text as the type's output function prints it, which the stream carries too.
    return {field.name: result.get_value(0, place) if result else None for place, field in enumerate(fields)}


async def passes(pool: Pool, fields: Sequence[Field], row: bytes, row_filter: str) -> bool:
    """Say whether a row passes a publication's row filter.

    Args:
        pool: Who decides.
        fields: All columns of the table.
        row: A JSON object that has the filter's columns.
        row_filter: As `pg_publication_tables` shows it.

    Raises:
        BindingError: A value is none of its column's type; the message is Postgres' own.
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    query = f"SELECT coalesce(({row_filter}), false) FROM {_given(fields)}"  # noqa: S608 - the catalog's own text
    try:
        cursor = await pool.ask(query, [row.decode()])
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise BindingError(server_text(error)) from error
    (answer,) = await cursor.fetchone() or (False,)
    return bool(answer)


def published_as(kind: Kind, *, new_passes: bool, old_passes: bool) -> Kind | None:
    """Return as what a change is published, given what the row filter says of both rows; None for not at all."""
    if kind is Kind.INSERT:
        return kind if new_passes else None
    if kind is Kind.DELETE:
        return kind if old_passes else None
    if new_passes:
        return Kind.UPDATE if old_passes else Kind.INSERT
    return Kind.DELETE if old_passes else None


def make_change(table: Table, kind: Kind, new: Row, old: Row | None) -> Change:
    """Return the change that the stream would bring.

    Args:
        table: The table, as it would be announced.
        kind: What happened.
        new: The new row's values; a column that is not there counts as one that the WAL did not repeat. Not for DELETE.
        old: The old row's values; None for an UPDATE that left the identity's columns as they were.
    """
    reader = make_row_reader(table)
    if kind is Kind.INSERT:
        return reader.insert(b"N" + _tuple(table, new), 0)
    before = b"" if old is None else _old_tuple(table, old)
    if kind is Kind.DELETE:
        return reader.delete(before, 0)
    return reader.update(before + b"N" + _tuple(table, new), 0)


def _given(fields: Sequence[Field]) -> str:
    columns = ", ".join(f"{quote_identifier(field.name)} {field.type_name}" for field in fields)
    return f"json_to_record($1::json) AS given ({columns})"


def _old_tuple(table: Table, row: Row) -> bytes:
    if table.relation.identity is ReplicaIdentity.FULL:
        return b"O" + _tuple(table, row)
    # A key tuple has NULL where it has nothing to say.
    key = {column.name: row.get(column.name) if column.is_key else None for column in table.relation.columns}
    return b"K" + _tuple(table, key)


def _tuple(table: Table, row: Row) -> bytes:
    # number of columns: 2 | per column: kind: 1 | if it is text, size: 4, text
    parts = [len(table.relation.columns).to_bytes(2)]
    for column in table.relation.columns:
        if column.name not in row:
            parts.append(b"u")
            continue
        text = row[column.name]
        parts.append(b"n" if text is None else b"t" + len(text).to_bytes(4) + text)
    return b"".join(parts)
