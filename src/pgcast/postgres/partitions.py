"""The partitions of `realtime.messages`: one for each day, made ahead, and dropped as a whole when their time is over.

Below version 13 the table is made without partitions, because a publication could not carry them under one name; there
old rows are deleted.

Source: PostgreSQL, chapter "Table Partitioning".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pgcast.model.messages import MESSAGES_SCHEMA
from pgcast.postgres.refusals import quote_identifier, quote_literal

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgcast.postgres.connection import SqlConnection

PARTITIONS_FROM: Final = 130_000

LOCK: Final = 0x70676361_73740001
"""The advisory lock of whoever changes what belongs to `realtime.messages`; any number will do, if it is ours."""

# A session whose clock is in another time zone may write a day off where the column's default is local time.
_DAYS_BACK: Final = 1
_DAYS_AHEAD: Final = 3

# Times as in the column, without a zone.
_FIRST: Final = datetime.fromisoformat("0001-01-01")
_LAST: Final = datetime.fromisoformat("9999-12-31")

_BOUND: Final = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'([^']+)')\) TO \((?:MAXVALUE|'([^']+)')\)")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition.

    Attributes:
        schema: Its schema.
        name: Its name.
        starts_at: The time from which on its rows were inserted, UTC; None where it takes what fits nowhere else.
        ends_at: The time before which they were; None where it takes what fits nowhere else.
    """

    schema: str
    name: str
    starts_at: datetime | None
    ends_at: datetime | None

    def covers(self, day: date) -> bool:
        """Say whether it takes the rows of a whole day."""
        starts_at = datetime.fromisoformat(f"{day}")
        if self.starts_at is None or self.ends_at is None:
            return False
        return self.starts_at <= starts_at and starts_at + timedelta(1) <= self.ends_at


async def list_partitions(connection: SqlConnection) -> list[Partition] | None:
    """Return the partitions of `realtime.messages`; None if the table is not there, or not partitioned by time."""
    cursor = await connection.execute("""
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_partitioned_table p ON p.partrelid = c.oid AND p.partstrat = 'r' AND p.partnatts = 1
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0] AND a.attname = 'inserted_at'
        WHERE n.nspname = 'realtime' AND c.relname = 'messages'
    """)
    found = await cursor.fetchone()
    if found is None:
        return None
    cursor = await connection.execute(
        """
        SELECT n.nspname, c.relname, pg_get_expr(c.relpartbound, c.oid)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE i.inhparent = $1 ORDER BY n.nspname, c.relname
        """,
        found,
    )
    return [Partition(schema, name, *bounds_of(bound)) for schema, name, bound in await cursor.fetchall()]


def missing_days(existing: Sequence[Partition], today: date) -> list[date]:
    """Return the days, around today, for which no partition is there."""
    days = [today + timedelta(days=offset) for offset in range(-_DAYS_BACK, _DAYS_AHEAD + 1)]
    return [day for day in days if not any(partition.covers(day) for partition in existing)]


def outdated(existing: Collection[Partition], now: datetime, keep: timedelta) -> list[Partition]:
    """Return the partitions whose every row is older than is to be kept."""
    return [partition for partition in existing if partition.ends_at is not None and partition.ends_at <= now - keep]


def partition_name(day: date) -> str:
    """Return the usual name of a day's partition."""
    return f"messages_{day:%Y_%m_%d}"


def create_statements(day: date) -> list[str]:
    """Return what makes a day's partition; nobody but its owner gets at it except through the table's own policies.

    It is attached, not created as a partition: only that lets others go on reading and writing the table.
    """
    name = f"{MESSAGES_SCHEMA}.{partition_name(day)}"
    begin, end = (quote_literal(f"{moment:%Y-%m-%d}") for moment in (day, day + timedelta(1)))
    like = "LIKE realtime.messages INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING STORAGE"
    return [
        f"CREATE TABLE IF NOT EXISTS {name} ({like});",
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;",
        f"ALTER TABLE realtime.messages ATTACH PARTITION {name} FOR VALUES FROM ({begin}) TO ({end});",
    ]


def drop_statement(partition: Partition) -> str:
    """Return what drops a partition with all its rows."""
    return f"DROP TABLE IF EXISTS {quote_identifier(partition.schema)}.{quote_identifier(partition.name)};"


def bounds_of(bound: str | None) -> tuple[datetime | None, datetime | None]:
    """Return from when to when a partition's rows were inserted, as `pg_get_expr` prints its bound."""
    found = _BOUND.fullmatch(bound or "")
    return (None, None) if found is None else (_time_of(found[1], _FIRST), _time_of(found[2], _LAST))


def _time_of(text: str | None, otherwise: datetime) -> datetime:
    try:
        return otherwise if text is None else datetime.fromisoformat(text)
    except ValueError:
        return otherwise  # infinity, or a time of another era
