"""What a program asks for (tables, events, a filter), checked against the database, as what the index takes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pgcast.engine.bindings import entry_of, has_table
from pgcast.matching.index import ROW_KINDS
from pgcast.model.binding import Binding
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError
from pgcast.postgres.refusals import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgcast.engine.ports import Catalog, PublishedTable
    from pgcast.matching.index import Entry

_PART: Final = r'"(?:[^"]|"")+"|[^".]+'
_TABLE: Final = re.compile(f"(?:({_PART})\\.)?({_PART})")
_TABLE_HINT: Final = 'write public.orders, orders (in public), sales.* or *; with a dot in a name, "my.schema".orders'
_NAMED: Final = 10


def place_of(text: str) -> tuple[str | None, str | None]:
    """Read `schema.table`, `table` (in public), `schema.*` or `*`; None stands for any.

    Raises:
        BindingError: It is none of them.
    """
    if text == "*":
        return None, None
    match = _TABLE.fullmatch(text)
    if match is None:
        raise BindingError(f"{text[:80]!r} is no table", hint=_TABLE_HINT)
    schema, table = (_unquoted(part) for part in match.groups(default="public"))
    if schema == "*":
        raise BindingError(f"{text[:80]!r}: the schema has to be named", hint=_TABLE_HINT)
    return schema, None if table == "*" else table


def kinds_of(events: Collection[str]) -> frozenset[Kind]:
    """Read the kinds of change.

    Raises:
        BindingError: One of them is none, or there is none at all.
    """
    try:
        kinds = frozenset(map(Kind, events))
    except ValueError:
        raise BindingError(
            f"events: {', '.join(map(repr, events))[:80]}", hint='use "INSERT", "UPDATE", "DELETE" and "TRUNCATE"'
        ) from None
    if not kinds:
        raise BindingError("events: none at all", hint="leave it out for INSERT, UPDATE and DELETE")
    return kinds


async def entries_for(
    catalog: Catalog,
    publications: Collection[str],
    *,
    tables: Sequence[str],
    kinds: frozenset[Kind],
    filter: str | None,  # noqa: A002 - as in the protocol
) -> tuple[Entry, ...]:
    """Check what is asked for, and return it as entries, numbered from 1.

    Args:
        catalog: Asked for the tables.
        publications: The followed ones, for messages.
        tables: As `place_of` reads them.
        kinds: Which changes.
        filter: As in a client's entry of `postgres_changes`; holds for each of the tables.

    Raises:
        BindingError: Something in it cannot be served.
        DatabaseError: The database could not be asked.
    """
    places = list(map(place_of, tables))
    if not places:
        raise BindingError("tables: none at all", hint='leave it out, or say "*", for all that are published')
    if filter and not kinds <= ROW_KINDS:
        raise BindingError("a TRUNCATE passes no filter", hint="leave out the filter, or TRUNCATE")
    published = await catalog.published_tables(is_fresh=True)
    entries = []
    for number, (schema, table) in enumerate(places, 1):
        if table is not None and not has_table(published, schema, table):
            publication = quote_identifier(next(iter(publications)))
            raise BindingError(
                f"{schema}.{table} is in none of the publications that are followed ({', '.join(publications)})",
                hint=f"published are {_some_of(published)}; to add a table that exists: ALTER PUBLICATION {publication}"
                f" ADD TABLE {quote_identifier(schema or '')}.{quote_identifier(table)};",
            )
        try:
            entry = await entry_of(Binding(number, None, schema, table, filter or None), published, catalog)
        except BindingError as error:
            # What is told here is the cause; the words around it are those of the realtime protocol.
            cause = error.__cause__ if isinstance(error.__cause__, BindingError) else error
            raise BindingError(f"filter {filter!r}: {cause.message}", hint=cause.hint) from None
        entries.append(replace(entry, kinds=kinds))
    return tuple(entries)


def _some_of(published: Sequence[PublishedTable]) -> str:
    names = [f"{table.schema}.{table.name}" for table in published]
    more = ["..."] if len(names) > _NAMED else []
    return ", ".join(names[:_NAMED] + more) or "no tables"


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part
