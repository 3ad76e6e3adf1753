"""What one role may see of one table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """As the catalog says it.

    Attributes:
        columns: The names of the columns that it may select, empty if it may select none; None for all of them.
        is_secured: Whether row level security applies to it: then the table's policies decide about each row.
    """

    columns: frozenset[str] | None = None
    is_secured: bool = False


BLIND = Sight(frozenset(), is_secured=True)
"""Of a table or role that is not known: nothing."""
