"""The vocabulary of pgoutput, protocol version 1: what one message says, besides the row changes.

Insert, Update and Delete have no class here: a decoder hands their tuples to the relation's row reader, which makes
`pgcast.model.change.Change` of them without a step in between.

Source: PostgreSQL, chapter "Logical Replication Message Formats".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pgcast.model.change import Change
    from pgcast.model.lsn import Lsn
    from pgcast.model.relation import Relation


@dataclass(frozen=True, slots=True)
class Begin:
    """A committed transaction starts.

    Attributes:
        final_lsn: The LSN of its commit record.
        committed_us: The commit time, microseconds since 1970-01-01 UTC, within the years 1 to 9999.
        xid: The 32-bit transaction id.
    """

    final_lsn: Lsn
    committed_us: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction ends.

    Attributes:
        flags: Not used by Postgres so far.
        commit_lsn: The LSN of the commit record; equals Begin's `final_lsn`.
        end_lsn: Where the transaction ends: the position to confirm.
        committed_us: The commit time, as in Begin.
    """

    flags: int
    commit_lsn: Lsn
    end_lsn: Lsn
    committed_us: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The transaction was itself replicated, from elsewhere: the commit's LSN there, and the origin's name."""

    lsn: Lsn
    name: str


@dataclass(frozen=True, slots=True)
class RelationMessage:
    """A table is announced, or announced again because something about it may have changed."""

    relation: Relation


@dataclass(frozen=True, slots=True)
class TypeMessage:
    """A type that is not built in is named; for a domain the name is its base type's."""

    oid: int
    schema: str
    name: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables were emptied: one message for all tables of one TRUNCATE, cascades included."""

    relation_oids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


@dataclass(frozen=True, slots=True)
class LogicalMessage:
    """What a program wrote with `pg_logical_emit_message`; not transactional ones stand outside Begin and Commit."""

    transactional: bool
    lsn: Lsn
    prefix: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Watched:
    """A row change that somebody watches for, beside those who have asked for changes."""

    change: Change


class RowReader(Protocol):
    """Makes changes of one relation's tuples.

    `data` is the whole message, `at` the place behind the relation's OID. Raises ReplicationWireError, LookupError or
    struct.error where the bytes do not fit; the decoder names them all alike.
    """

    def insert(self, data: bytes, at: int) -> Change | Watched:
        """Read the tuple of an Insert."""
        ...

    def update(self, data: bytes, at: int) -> Change:
        """Read the old or key tuple, if there is one, and the new tuple of an Update."""
        ...

    def delete(self, data: bytes, at: int) -> Change:
        """Read the old or key tuple of a Delete."""
        ...

    def truncate(self) -> Change:
        """Make the change of a Truncate that names this relation."""
        ...
