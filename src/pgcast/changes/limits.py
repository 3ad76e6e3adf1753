"""What is left of the rows of a change that is too large: the short values, and an error that says so.

Source: the realtime protocol, `errors` of a `postgres_changes` message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.changes.values import Renderer
    from pgcast.model.change import Absent

TOO_LARGE: Final = b'["Error 413: Payload Too Large"]'
"""The `errors` of such a change."""

_MAX_VALUE_BYTES: Final = 64

# No rendering makes so much shorter that it is worth trying.
_MAX_TEXT_BYTES: Final = 4096


def short_object(columns: Sequence[tuple[bytes, Renderer]], values: Sequence[bytes | Absent | None]) -> bytes:
    """Return the JSON object of those values of a row that take at most 64 bytes, NULLs left out.

    Args:
        columns: Of each column the name as a JSON key, and what renders its values.
        values: The row's values.
    """
    members = []
    for (name, render), value in zip(columns, values, strict=True):
        if isinstance(value, bytes) and len(value) <= _MAX_TEXT_BYTES:
            rendered = render(value)
            if len(rendered) <= _MAX_VALUE_BYTES:
                members.append(name + rendered)
    return b"{%b}" % b",".join(members)
