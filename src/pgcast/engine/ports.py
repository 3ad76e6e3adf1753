"""What the adapters implement. Each port states its promise; the engine relies on nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pgcast.model.lsn import NO_LSN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pgcast.engine.partitions import Attached
    from pgcast.matching.conditions import Question
    from pgcast.model.lsn import Lsn
    from pgcast.model.messages import DatabaseMessage
    from pgcast.model.relation import Relation, Table, TypeShape
    from pgcast.model.sight import Sight
    from pgcast.model.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class StreamStart:
    """What a replication stream says of itself when it starts.

    Attributes:
        system_identifier: As IDENTIFY_SYSTEM prints it; another cluster has another one.
        database: The database's OID, as text: with the identifier it makes the epoch of positions.
        server_version: As `server_version_num`, for example 180004.
        slot: The name of the replication slot.
        slot_created: Whether the slot was made by this call: nothing from before it can be delivered.
        confirmed_lsn: The slot's `confirmed_flush_lsn` before the stream started.
        written_lsn: How far the WAL had been written when the stream started: whatever commits later lies beyond.
        forked_at: Where the server's WAL goes on differently from its predecessor's, of which more was taken over; 0
            where that place is not known, None where it lacks nothing.
    """

    system_identifier: str
    database: str
    server_version: int
    slot: str
    slot_created: bool
    confirmed_lsn: Lsn
    written_lsn: Lsn = NO_LSN
    forked_at: Lsn | None = None


class ChangeSource(Protocol):
    """The replication stream: one connection at a time, at least once, in commit order."""

    async def open(self, after: Lsn, taken: Lsn = NO_LSN) -> StreamStart:
        """Connect, make the slot if it is missing, start the stream, and return once Postgres has sent something.

        Args:
            after: Skip commits that end at or below it; 0 to start at what the slot has confirmed.
            taken: What lies below it has been taken over, as far as anything has.

        Raises:
            ConnectionFailed: No connection.
            NotPrepared: Something is missing that the hint says how to add.
            SlotBusy: Another consumer holds the slot.
            SlotLost: The slot was invalidated.
        """
        ...

    async def read(self) -> list[bytes]:
        """Wait for envelopes and return those that are there in a new list: at least one, in order, bounded in bytes.

        An envelope is the content of one CopyData message: XLogData or a primary keepalive. May be cancelled without
        losing anything.

        Raises:
            StreamEnded: The connection broke, or Postgres ended the stream; the message says why.
            SlotLost: The slot was invalidated while it was read.
        """
        ...

    def send_status(self, received: Lsn, flushed: Lsn, *, reply_requested: bool = False) -> None:
        """Send a standby status update without waiting; dropped silently when there is no connection.

        Args:
            received: The `write` position.
            flushed: The `flush` position, 0 where the confirmed position does not move.
            reply_requested: Ask for a keepalive at once.
        """
        ...

    async def finish(self, received: Lsn, flushed: Lsn) -> None:
        """Send a last standby status update, and end the stream once Postgres has read it, or after a moment.

        Args:
            received: The `write` position.
            flushed: The `flush` position.
        """
        ...

    async def drop_slot(self) -> None:
        """Drop the slot, so that the next `open` makes a new one: what it still held is lost. A missing slot is fine.

        Raises:
            DatabaseError: Postgres could not be reached, or a consumer holds the slot.
        """
        ...

    async def close(self) -> None:
        """End the stream and its connection; twice is safe."""
        ...


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table that the followed publications contain, as it is in the catalog now.

    Attributes:
        oid: Its OID.
        columns: Its columns in order, `(name, type)`.
        identity: The columns of its replica identity, whose old values an UPDATE carries.
        is_secured: Whether row level security is enabled on it.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[tuple[str, TypeShape], ...]
    identity: frozenset[str] = frozenset()
    is_secured: bool = False


class Questions(Protocol):
    """What a join asks of the database. Each call has a deadline and may be made concurrently."""

    async def published_tables(self, *, is_fresh: bool = False) -> Sequence[PublishedTable]:
        """Return all tables of the followed publications.

        Args:
            is_fresh: Ask the database after this call; otherwise the answer may be as old as a second.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def canonical_text(self, type_shape: TypeShape, text: str) -> bytes:
        """Cast a text to a type and return the text that the replication stream would carry for that value.

        Raises:
            BindingError: Postgres refuses the cast; the message is Postgres' own.
            DatabaseError: The database could not be asked.
        """
        ...

    async def decide(self, question: Question, values: Sequence[bytes | None]) -> Sequence[bool | None]:
        """Return what Postgres says of each value: a comparison that only Postgres can make.

        Raises:
            BindingError: Postgres refuses the comparison, or one of the values, or takes too long; the message is
                Postgres' own.
            DatabaseError: The database could not be asked.
        """
        ...


class Catalog(Questions, Protocol):
    """Questions to the database, over ordinary connections. Each call has a deadline and may be made concurrently."""

    async def describe(self, relation: Relation) -> Table:
        """Complete an announced relation with types, primary key and row security, matched by OID and column name.

        What the catalog no longer knows is filled from the relation and the built-in types; only a lost connection
        raises.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def altered(self, tables: Collection[Table]) -> Mapping[int, Table | None]:
        """Return those tables, by OID, of which the catalog now says otherwise, as it says now; None if one is gone.

        That is about what Postgres does not announce by itself: the schema's name (below version 16), the names,
        elements and fields of types, and that a table was dropped.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def snapshot(self) -> Snapshot:
        """Return the current snapshot and insert position, read in one statement.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def sights(self, oids: Collection[int], roles: Collection[str]) -> Mapping[str, Mapping[int, Sight]]:
        """Return what each role may see of each table, by role and table's OID; what does not exist is missing.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def fingerprint_of_roles(self) -> str:
        """Return a text that changes with whatever decides about sights and is announced by no table.

        That is roles, their memberships and attributes, and the privileges on schemas.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def attached(self) -> Attached:
        """Return which partitions are attached below the tables that the publications name.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def close(self) -> None:
        """Close all connections; twice is safe."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """What Postgres says of our slot and our publications at one moment.

    Attributes:
        lag_bytes: How much WAL is not confirmed.
        retained_bytes: How much WAL the slot keeps on the server's disk.
        wal_status: `reserved`, `extended`, `unreserved` or `lost`; None below version 13.
        is_lost: Whether the slot was invalidated.
        publications: The OID of each followed publication that exists, by name.
        is_standby: Whether commits wait, or may come to wait, for this connection as for a synchronous standby.
    """

    lag_bytes: int
    retained_bytes: int
    wal_status: str | None
    is_lost: bool
    publications: Mapping[str, int]
    is_standby: bool


class Observer(Protocol):
    """Looks at the slot from outside, over an ordinary connection."""

    async def look(self) -> Observation:
        """Ask once, with a deadline.

        Raises:
            DatabaseError: The database could not be asked.
        """
        ...

    async def close(self) -> None:
        """Close the connection; twice is safe."""
        ...


class MessageStore(Protocol):
    """The database's own store of messages to the members of topics, over ordinary connections."""

    async def recent(self, topic: str, since_ms: int, limit: int) -> tuple[list[DatabaseMessage], Snapshot]:
        """Return the newest broadcasts to the private channels of a topic, oldest first, within a deadline.

        Args:
            topic: Without `realtime:`.
            since_ms: None that is older, milliseconds since 1970-01-01 UTC.
            limit: At most so many; fewer, if together they would be very large.

        Returns:
            The messages, and the snapshot by which they were looked for.

        Raises:
            DatabaseError: The database could not be asked, or has no such store.
        """
        ...

    async def tend(self, keep_h: int) -> Sequence[str]:
        """Prepare the store for the coming days, and let go of what is older than so many hours.

        Returns:
            What was done, a few words each; nothing where nothing was to be done, or no such store is there.

        Raises:
            DatabaseError: Something could not be done; the rest was.
        """
        ...

    async def close(self) -> None:
        """Close all connections; twice is safe."""
        ...


@dataclass(frozen=True, slots=True)
class Database:
    """One database, as the engine knows it: what it reads from, whom it asks, and who watches.

    Attributes:
        source: The replication stream.
        catalog: Asked about tables, types and snapshots.
        observer: Looks at the slot.
        publications: Which are followed.
        messages: Its store of messages.
    """

    source: ChangeSource
    catalog: Catalog
    observer: Observer
    publications: Sequence[str]
    messages: MessageStore


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants to read or write on a private topic. Equal askers get the same answer.

    Attributes:
        role: The database role it acts as.
        claims: All claims of its token, the text of a JSON object.
        subject: The claim `sub`; empty without one.
        headers: Those of its handshake or request that policies can read, the text of a JSON object.
        topic: Without `realtime:`.
    """

    role: str
    claims: str
    subject: str
    headers: str
    topic: str


@dataclass(frozen=True, slots=True)
class Permission:
    """What the policies on `realtime.messages` say, for one way of access.

    Attributes:
        broadcast: For broadcasts.
        presence: For presence.
    """

    broadcast: bool
    presence: bool


class Policies(Protocol):
    """Asks the policies of private channels, as the client; any number of askers at once, within a deadline.

    An error inside a policy is a denial, and so is a role that does not exist or that we may not switch to.
    """

    async def may_read(self, asker: Asker) -> Permission:
        """Say what somebody may receive.

        Raises:
            PoliciesUnavailable: They could not be asked.
        """
        ...

    async def may_write(self, asker: Asker) -> Permission:
        """Say what somebody may send.

        Raises:
            PoliciesUnavailable: They could not be asked.
        """
        ...

    async def close(self) -> None:
        """Close all connections; twice is safe."""
        ...


class KeySource(Protocol):
    """Where a key set (RFC 7517) comes from that may change."""

    async def fetch(self) -> bytes:
        """Return its text, within a deadline and a size.

        Raises:
            KeySetUnavailable: It could not be fetched; the message says why.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; twice is safe."""
        ...


class Outlet(Protocol):
    """Where a client's frames go. One write is one call of the transport; nothing waits."""

    is_paused: bool
    """Whether the client takes bytes more slowly than they come: do not write ticks until told that it resumed."""

    members: int
    """How many joined channels share this outlet; kept by the hub."""

    @property
    def writes(self) -> int:
        """How often `write` was called."""
        ...

    def write(self, content: bytes) -> None:
        """Send WebSocket frames, or a piece of a large one whose rest follows at once; dropped once it is closed."""
        ...

    def buffered_bytes(self) -> int:
        """Return how much has been written and not yet taken by the kernel."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Send a close frame and end the connection, soon; twice is safe."""
        ...


class FrameText(Protocol):
    """What the hub must know of a serializer: the text around a change, by which a frame is built once for a group."""

    @property
    def version(self) -> str:
        """`1.0.0` or `2.0.0`."""
        ...

    def change_parts(self, topic: str, ids: tuple[int, ...]) -> tuple[bytes, bytes]:
        """Return what stands before and after the `data` of a `postgres_changes` message."""
        ...

    def legacy_parts(self, topic: str, event: str) -> tuple[bytes, bytes]:
        """Return what stands before and after the payload of a message in the oldest protocol."""
        ...
