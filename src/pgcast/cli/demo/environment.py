"""Which variables of the environment the demo leaves aside: it brings a database of its own.

Somebody who tries the demo may have the settings of another database in the environment, for pgcast or for libpq. Any
of them could lead the demo there, or keep it from starting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgcast.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

_OURS = "PGCAST_"


def foreign_variables(names: Iterable[str]) -> list[str]:
    """Return those that say something about a database, or about how to serve one; those with PGCAST_ are kept."""
    settings = {field.alias for field in Settings.model_fields.values()}
    return [name for name in names if not name.startswith(_OURS) and (name.startswith("PG") or name in settings)]
