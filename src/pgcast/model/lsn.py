"""Log sequence numbers: a byte position in the WAL as an int, and the way Postgres prints it."""

from __future__ import annotations

import re
from typing import NewType

from pgcast.model.errors import WireError

Lsn = NewType("Lsn", int)

NO_LSN = Lsn(0)

_PRINTED = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)


def format_lsn(lsn: Lsn) -> str:
    """Print an LSN as Postgres does: two hexadecimal halves, without leading zeros, as in `16/B374D848`.

    Source: PostgreSQL, chapter "pg_lsn Type".
    """
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> Lsn:
    """Read what `format_lsn` and Postgres print.

    Raises:
        WireError: The text is no LSN.
    """
    match = _PRINTED.fullmatch(text)
    if match is None:
        raise WireError(f"not an LSN: {text[:40]!r}", hint="an LSN looks like 16/B374D848")
    return Lsn(int(match[1], 16) << 32 | int(match[2], 16))
