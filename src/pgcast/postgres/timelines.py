"""Whether a server has all the WAL that another one had: after a failover it may lack the end, and go on differently.

A promoted standby begins a new timeline where its WAL ended; its history file says where. What an application read of
the old timeline beyond that place does not exist any more.

Source: PostgreSQL, chapters "Streaming Replication Protocol" (IDENTIFY_SYSTEM, TIMELINE_HISTORY) and "Continuous
Archiving and Point-in-Time Recovery" (Timelines).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from pgcast.model.lsn import NO_LSN, parse_lsn

if TYPE_CHECKING:
    from pgcast.model.lsn import Lsn
    from pgcast.postgres.connection import SqlConnection


@dataclass(frozen=True, slots=True)
class System:
    """What IDENTIFY_SYSTEM says.

    Attributes:
        identifier: The cluster's; standbys share it.
        timeline: Which one the server writes.
        wal_end: How far it has flushed its WAL.
    """

    identifier: str
    timeline: int
    wal_end: Lsn


async def identify_system(connection: SqlConnection) -> System:
    """Ask a replicating connection."""
    cursor = await connection.execute("IDENTIFY_SYSTEM")
    (identifier, timeline, wal_end, *_), *_ = await cursor.fetchall()
    return System(str(identifier), int(timeline), parse_lsn(wal_end))


async def fork_of(connection: SqlConnection, system: System, lsn: Lsn, timeline: int) -> Lsn | None:
    """Return up to where a server has the WAL below `lsn` that was read on a timeline; None if it has all of it.

    Args:
        connection: A replicating one, to the server.
        system: What the server says of itself.
        lsn: The place.
        timeline: On which it was read.

    Returns:
        Where it lacks some: the place where its own WAL goes on differently, or 0 if that cannot be told.
    """
    has_so_much = system.wal_end >= lsn
    if system.timeline == timeline:
        return None if has_so_much else NO_LSN
    try:
        cursor = await connection.execute(f"TIMELINE_HISTORY {system.timeline}".encode())
    except psycopg.errors.UndefinedFile:
        return NO_LSN  # the first timeline has no history, and so no part in another one's
    # As it was sent: versions differ in which type they call it.
    content = None if cursor.pgresult is None else cursor.pgresult.get_value(0, 1)
    switched_at = switch_point((content or b"").decode("utf-8", "replace"), timeline)
    if switched_at is None:
        return NO_LSN
    return None if has_so_much and switched_at >= lsn else min(switched_at, lsn)


def switch_point(history: str, timeline: int) -> Lsn | None:
    """Return where a history left a timeline; None if that is none of its own.

    Args:
        history: A history file: lines of `timeline <tab> LSN <tab> reason`.
        timeline: The one that was left.
    """
    for line in history.splitlines():
        number, _, rest = line.strip().partition("\t")
        if number == str(timeline):
            return parse_lsn(rest.partition("\t")[0])
    return None
