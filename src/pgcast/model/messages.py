"""Messages to clients that come from the database: the table they are stored in, and the prefix of those that are not.

The table's name and columns are the realtime protocol's. Its partitions, one for each day, are called after it; where a
publication brings them under their own names, they stand for the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

MESSAGES_SCHEMA: Final = "realtime"
MESSAGES_TABLE: Final = "messages"

MESSAGE_PREFIX: Final = "pgcast.broadcast"
"""What `pg_logical_emit_message` is given as prefix for a message that is stored nowhere."""

_PARTITION: Final = re.compile(r"messages_[0-9]{4}_[0-9]{2}_[0-9]{2}", re.ASCII)


def is_messages_table(schema: str, name: str) -> bool:
    """Say whether this is `realtime.messages`, or one of its partitions."""
    return schema == MESSAGES_SCHEMA and (name == MESSAGES_TABLE or _PARTITION.fullmatch(name) is not None)


@dataclass(frozen=True, slots=True)
class DatabaseMessage:
    """A message that the database has for the members of a topic.

    Attributes:
        topic: Without `realtime:`.
        is_private: Whether it is for the private channels of that name; else for the public ones.
        event: What the application calls it.
        payload: The text of a JSON value; None where the payload is raw.
        raw: Bytes, if the payload is raw; else None.
        id: Which message it is, a UUID; None where nobody said.
    """

    topic: str
    is_private: bool
    event: str
    payload: bytes | None = field(repr=False)
    raw: bytes | None = field(repr=False)
    id: str | None

    @property
    def size_bytes(self) -> int:
        """How long its payload is, as limits count it."""
        return len(self.payload if self.payload is not None else self.raw or b"")
