"""The replication connection: from a slot and publications to envelopes, batch by batch.

libpq speaks the protocol (TLS, SCRAM, CopyBoth); this module watches its socket from the event loop, and takes all that
has arrived whenever it wakes up. Nothing is decoded here.

Source: PostgreSQL, chapters "Streaming Replication Protocol" and "Logical Streaming Replication Protocol".
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import generators, pq
from psycopg.errors import error_from_result

from pgcast.engine.ports import StreamStart
from pgcast.model.errors import ConnectionFailed, DatabaseError, NotPrepared, SlotLost, StreamEnded
from pgcast.model.lsn import NO_LSN, Lsn, format_lsn, parse_lsn
from pgcast.postgres.connection import connect_replication, connect_sql, read_unconverted, within
from pgcast.postgres.copyboth import CopyBoth
from pgcast.postgres.publications import check_publications
from pgcast.postgres.refusals import WAL_LEVEL_SQL, Names, quote_identifier, quote_literal, translate
from pgcast.postgres.slots import PLUGIN, Slot, check_owner, check_slot_name, drop_slot, drop_slot_sql, find_slot
from pgcast.postgres.timelines import fork_of, identify_system
from pgcast.postgres.transcoding import Transcoder
from pgcast.wal.envelope import status_update

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import SqlConnection, Target
    from pgcast.postgres.timelines import System

# Taking 256 kB of small messages from libpq takes 4 ms, in which nothing else runs; a megabyte took 15.
_READ_LIMIT_BYTES: Final = 256 * 1024

# Postgres answers a start at once; ten seconds are for a machine under load.
_FAILOVER_FROM: Final = 170_000
_MESSAGES_FROM: Final = 140_000
_START_TIMEOUT_S: Final = 10.0
_FINISH_S: Final = 1.0

# A commit record that is written after this question begins at or beyond its answer.
_WRITTEN: Final = (
    "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text"
)

# Making a slot waits for all transactions of the cluster that were writing when it began.
_CREATE_TIMEOUT_S: Final = 300.0

# A walsender of version 16 or newer that goes to sleep just as the next commit is flushed misses it, and sleeps on for
# up to ten seconds (seen once in some hundred pairs of commits 0.1 ms apart, on 18). Any message from us wakes it, so
# one goes out when changes have stopped coming for this long; more often would gain nothing.
_NUDGE_AFTER_S: Final = 0.02
_MISSES_COMMITS_FROM: Final = 160000


def start_replication_command(slot: str, after: Lsn, publications: Sequence[str], server_version: int) -> str:
    """Return the command that starts the stream.

    The names of the publications are SQL identifiers, separated by commas, inside one literal: quoted twice. What
    programs write with `pg_logical_emit_message` is asked for where pgoutput passes it on.
    """
    names = ",".join(quote_identifier(name) for name in publications)
    messages = ", messages 'true'" if server_version >= _MESSAGES_FROM else ""
    return (
        f"START_REPLICATION SLOT {quote_identifier(slot)} LOGICAL {format_lsn(after)}"
        f" (proto_version '1', publication_names {quote_literal(names)}{messages})"
    )


class ReplicationSource:
    """A ChangeSource on one replication slot of one database.

    Args:
        target: The database.
        slot: The name of the slot; made at the first open.
        publications: Which to follow, unquoted; at least one.
        failover_slot: Make a slot that standbys keep a copy of; from version 17 on.
        temporary_slot: Make a slot that ends with the connection: nothing from before can be resumed.
        read_limit_bytes: About how much `read` returns at most; one envelope may be larger.
        create_timeout_s: How long making the slot may wait for other transactions.
    """

    def __init__(
        self,
        target: Target,
        *,
        slot: str,
        publications: Sequence[str],
        failover_slot: bool = False,
        temporary_slot: bool = False,
        read_limit_bytes: int = _READ_LIMIT_BYTES,
        create_timeout_s: float = _CREATE_TIMEOUT_S,
    ) -> None:
        self._target = target
        self._slot = check_slot_name(slot)
        self._publications = tuple(publications)
        self._is_failover = failover_slot
        self._is_temporary = temporary_slot
        self._read_limit_bytes = read_limit_bytes
        self._create_timeout_s = create_timeout_s
        self._names: Names = target.names(slot=slot, publications=self._publications)
        self._connection: SqlConnection | None = None
        self._copy: CopyBoth | None = None
        self._first: list[bytes] = []
        self._identity: tuple[str, str] | None = None
        self._timeline: int | None = None
        self._received = NO_LSN
        self._may_sleep = False
        self._is_nudge_due = False
        self._has_untranslatable = False
        self._transcoder: Transcoder | None = None

    async def open(self, after: Lsn, taken: Lsn = NO_LSN) -> StreamStart:
        """Connect, make the slot if it is missing, start the stream, and return once Postgres has sent something.

        A stream that is still open is closed first; after a failure everything is closed. After one that ended at a
        character without UTF-8 form, the next stream is in the database's own encoding, and converted here.
        """
        await self.close()
        self._connection = await connect_replication(self._target, timeout_s=_START_TIMEOUT_S)
        try:
            return await self._start(self._connection, after, taken)
        except psycopg.Error as error:
            await self.close()
            raise self._translated(error) from error
        except TimeoutError as error:
            await self.close()
            raise ConnectionFailed(f"{self._names.place}: no answer within {_START_TIMEOUT_S:g} s") from error
        except BaseException:
            await self.close()
            raise

    async def read(self) -> list[bytes]:
        """Wait for envelopes and return those that are there, at least one, in order."""
        envelopes, self._first = self._first, []
        if not envelopes:
            if self._copy is None:
                raise StreamEnded(f"{self._names.place}: the replication stream is not open")
            try:
                envelopes = await self._read(self._copy)
            except psycopg.Error as error:
                raise self._translated(error) from error
        return envelopes if self._transcoder is None else [self._transcoder.to_utf8(one) for one in envelopes]

    def send_status(self, received: Lsn, flushed: Lsn, *, reply_requested: bool = False) -> None:
        """Send a standby status update without waiting; dropped silently when there is no connection."""
        if self._copy is None:
            return
        self._received = received
        message = status_update(
            received=received,
            flushed=flushed,
            applied=flushed,
            now_us=time.time_ns() // 1000,
            reply_requested=reply_requested,
        )
        self._copy.send(message)

    async def finish(self, received: Lsn, flushed: Lsn) -> None:
        """Send a last standby status update, and end the stream once Postgres has read it, or after a moment.

        A walsender that finds the socket closed when it wants to write reads nothing more.
        """
        if self._copy is None:
            return
        self.send_status(received, flushed)
        with contextlib.suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                await self._copy.finish()
        await self.close()

    async def drop_slot(self) -> None:
        """Drop the slot, so that the next `open` makes a new one: what it held is lost. A missing slot is fine."""
        await self.close()
        connection = await connect_sql(self._target, timeout_s=_START_TIMEOUT_S)
        try:
            await within(_START_TIMEOUT_S, drop_slot(connection, self._slot, place=self._names.place))
        except psycopg.Error as error:
            raise translate(error, self._names, otherwise=DatabaseError) from error
        except TimeoutError as error:
            raise ConnectionFailed(f"{self._names.place}: no answer within {_START_TIMEOUT_S:g} s") from error
        finally:
            await connection.close()

    async def close(self) -> None:
        """End the stream and its connection; twice is safe."""
        copy, self._copy = self._copy, None
        connection, self._connection = self._connection, None
        self._first = []
        if copy is not None:
            copy.close()
        if connection is not None:
            await connection.close()

    async def _read(self, copy: CopyBoth) -> list[bytes]:
        if self._may_sleep and self._is_nudge_due:
            try:
                async with asyncio.timeout(_NUDGE_AFTER_S):
                    return await copy.read()
            except TimeoutError:
                self._is_nudge_due = False
                self.send_status(self._received, NO_LSN)
        envelopes = await copy.read()
        # Not by keepalives alone: a nudge brings one, and would go on for ever.
        self._is_nudge_due = any(envelope[:1] == b"w" for envelope in envelopes)
        return envelopes

    async def _start(self, connection: SqlConnection, after: Lsn, taken: Lsn) -> StreamStart:
        system, identity, slot = await within(_START_TIMEOUT_S, self._look(connection))
        forked_at = None
        if identity == self._identity and self._timeline is not None:
            forked_at = await within(_START_TIMEOUT_S, fork_of(connection, system, taken, self._timeline))
        written_lsn = await within(_START_TIMEOUT_S, _written(connection))
        confirmed_lsn = await self._create_slot(connection) if slot is None else self._usable(slot).confirmed_lsn
        if self._identity not in {None, identity} or forked_at is not None:
            after = NO_LSN  # it is a place in another history
        self._identity, self._timeline = identity, system.timeline
        self._copy = await within(_START_TIMEOUT_S, self._begin(connection, after))
        # Version 10 agrees to any start and refuses afterwards, so only an envelope proves it. Behind a slot that this
        # connection made it also sends none by itself.
        self.send_status(after, NO_LSN, reply_requested=True)
        async with asyncio.timeout(_START_TIMEOUT_S):
            self._first = await self._copy.read()
        self._may_sleep = connection.info.server_version >= _MISSES_COMMITS_FROM
        self._received = NO_LSN
        self._is_nudge_due = True
        return StreamStart(
            system_identifier=identity[0],
            database=identity[1],
            server_version=connection.info.server_version,
            slot=self._slot,
            slot_created=slot is None,
            confirmed_lsn=confirmed_lsn,
            written_lsn=written_lsn,
            forked_at=forked_at,
        )

    async def _look(self, connection: SqlConnection) -> tuple[System, tuple[str, str], Slot | None]:
        """Return the server, its identifier with the database's OID, and the slot if there is one to go on with."""
        system = await identify_system(connection)
        cursor = await connection.execute(
            "SELECT oid::text, current_setting('wal_level') FROM pg_database WHERE datname = current_database()"
        )
        (database, wal_level), *_ = await cursor.fetchall()
        if wal_level != "logical":
            raise NotPrepared(
                f"{self._names.place}: wal_level is {wal_level}, and has to be logical",
                hint=f"{WAL_LEVEL_SQL} and restart Postgres",
            )
        await check_publications(connection, self._publications, place=self._names.place)
        slot = None if self._is_temporary else await find_slot(connection, self._slot)
        return system, (system.identifier, database), slot

    def _usable(self, slot: Slot) -> Slot:
        check_owner(slot, self._names.place)
        if slot.is_lost:
            reason = f" ({slot.invalidation_reason})" if slot.invalidation_reason else ""
            raise SlotLost(
                f"{self._names.place}: Postgres has invalidated replication slot {quote_identifier(slot.name)}{reason}",
                hint=f"{drop_slot_sql(slot.name)} a new one is made at the next start; changes since"
                f" {format_lsn(slot.confirmed_lsn)} are lost. max_slot_wal_keep_size says how much WAL a slot may keep",
            )
        return slot

    async def _create_slot(self, connection: SqlConnection) -> Lsn:
        """Make the slot and return where it starts: transactions that commit from there on."""
        temporary = "TEMPORARY " if self._is_temporary else ""
        options = "NOEXPORT_SNAPSHOT"
        if self._is_failover:
            if connection.info.server_version < _FAILOVER_FROM:
                raise NotPrepared(
                    f"{self._names.place}: failover slots need PostgreSQL 17 or newer",
                    hint="unset PGCAST_FAILOVER_SLOT",
                )
            options = "(SNAPSHOT 'nothing', FAILOVER true)"
        command = f"CREATE_REPLICATION_SLOT {quote_identifier(self._slot)} {temporary}LOGICAL {PLUGIN} {options}"
        try:
            cursor = await within(self._create_timeout_s, connection.execute(command.encode()))
        except TimeoutError as error:
            raise NotPrepared(
                f"{self._names.place}: replication slot {quote_identifier(self._slot)} could not be made within"
                f" {self._create_timeout_s:g} s: that waits for all transactions that were writing",
                hint="end them: SELECT pid, datname, usename, state, xact_start FROM pg_stat_activity"
                " WHERE backend_xid IS NOT NULL ORDER BY xact_start;"
                " and prepared ones: SELECT * FROM pg_prepared_xacts;",
            ) from error
        (_, consistent_point, *_), *_ = await cursor.fetchall()
        return parse_lsn(consistent_point)

    def _translated(self, error: psycopg.Error) -> DatabaseError:
        """Return what to raise; the next stream is opened accordingly."""
        if isinstance(error, psycopg.errors.UntranslatableCharacter):
            self._has_untranslatable = True
        return translate(error, self._names, otherwise=StreamEnded)

    async def _begin(self, connection: SqlConnection, after: Lsn) -> CopyBoth:
        self._transcoder, encoding = None, "utf-8"
        if self._has_untranslatable:
            self._has_untranslatable = False
            encoding = await read_unconverted(connection)
            self._transcoder = Transcoder(encoding)
        command = start_replication_command(self._slot, after, self._publications, connection.info.server_version)
        connection.pgconn.send_query(command.encode(encoding, "replace"))
        results = await connection.wait(generators.execute(connection.pgconn))
        if results[-1].status != pq.ExecStatus.COPY_BOTH:
            raise error_from_result(results[-1])
        return CopyBoth(connection.pgconn, read_limit_bytes=self._read_limit_bytes)


async def _written(connection: SqlConnection) -> Lsn:
    """Return how far the WAL has been written."""
    cursor = await connection.execute(_WRITTEN)
    (written_lsn,), *_ = await cursor.fetchall()
    return parse_lsn(written_lsn)
