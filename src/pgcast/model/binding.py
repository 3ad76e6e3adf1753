"""What a client asks for: one `postgres_changes` entry of a join, or the topic of an oldest-protocol join."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.model.change import Kind


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `postgres_changes`, with the defaults of the protocol filled in but nothing looked up.

    Attributes:
        id: From 1 to 2**31-1; unique within its channel, except that equal bindings share one.
        event: The kind of change asked for; None for all (INSERT, UPDATE, DELETE; never TRUNCATE).
        schema: A schema's exact name; None for all.
        table: A table's exact name; None for all.
        filter: As the client wrote it; None where absent, null or blank.
        select: Names of the columns asked for; empty for all.
        since: A position or a commit timestamp, as the client wrote it; None for "from now on".
        leave: Whether to tell when a row leaves the filter.
    """

    id: int
    event: Kind | None
    schema: str | None
    table: str | None
    filter: str | None = None
    select: tuple[str, ...] = ()
    since: str | None = None
    leave: bool = False
