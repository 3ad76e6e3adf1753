"""Which variables of the environment the demo leaves aside: it brings a database of its own.

Somebody who tries the demo may have the settings of another database in the environment, for pgcast or for libpq. Any
of them could lead the demo there, or keep it from starting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgcast.environment import PREFIX
from pgcast.settings import variables

if TYPE_CHECKING:
    from collections.abc import Iterable

_TLS: Final = "PGCAST_TLS_"


def foreign_variables(names: Iterable[str]) -> list[str]:
    """Return those that say something about a database, or about how to serve one; those with PGCAST_ are kept.

    But for TLS: the demo is for this machine, and prints a plain URL.
    """
    settings = variables()
    return [
        name
        for name in names
        if name.startswith(_TLS) or (not name.startswith(PREFIX) and (name.startswith("PG") or name in settings))
    ]
