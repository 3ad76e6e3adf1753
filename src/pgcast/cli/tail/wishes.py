"""What the command's options ask for, as the bindings of a join."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PART: Final = r'"(?:[^"]|"")+"|[^".]+'
_TABLE: Final = re.compile(f"(?:({_PART})\\.)?({_PART})")


class Event(Enum):
    """Which changes."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


def bindings_of(tables: Sequence[str], events: Sequence[Event]) -> list[dict[str, str]]:
    """Return the entries of a join.

    Args:
        tables: As `table_of` reads them; none for all.
        events: None for all.

    Raises:
        SettingsError: One of the tables cannot be read.
    """
    places = [table_of(table) for table in tables] or [{"schema": "*"}]
    names = [event.name for event in events] or ["*"]
    return [{"event": name, **place} for place in places for name in names]


def table_of(text: str) -> dict[str, str]:
    """Read `schema.table`, `table` (in public) or `schema.*`; a part in double quotes may hold a dot.

    Raises:
        SettingsError: It is none of them.
    """
    match = _TABLE.fullmatch(text)
    if match is None:
        raise SettingsError(
            f"--table: expected schema.table (found {text[:80]!r})",
            hint='write public.todos, todos, public.*, or, with dots in a name, "my.schema".todos',
        )
    schema, table = (_unquoted(part) for part in match.groups(default="public"))
    return {"schema": schema} if table == "*" else {"schema": schema, "table": table}


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part
