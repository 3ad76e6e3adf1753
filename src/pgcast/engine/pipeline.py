"""From the source to the hub: decode, number, publish, confirm; and open the stream again when it breaks.

A transaction is passed on as it arrives, never collected: Begin already carries its commit LSN. Positions are
confirmed only when the window has let go of what lies before them, so that after a crash the slot replays what the
window held.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgcast.changes.payload import commit_timestamp
from pgcast.engine.floor import Floor, floor_of
from pgcast.engine.health import Health
from pgcast.engine.partitions import Partitions, Turn, goes_stale
from pgcast.engine.privileges import Privileges
from pgcast.engine.relays import Relays
from pgcast.engine.tables import Tables
from pgcast.logs import get_logger
from pgcast.model.change import Change, Transaction
from pgcast.model.errors import NotPrepared, PgcastError, SlotLost, StreamEnded
from pgcast.model.lsn import NO_LSN, format_lsn
from pgcast.model.position import epoch_of
from pgcast.wal.decoder import Decoder
from pgcast.wal.envelope import KEEPALIVE, XLOG_DATA_HEADER, parse_keepalive
from pgcast.wal.messages import Begin, Commit, LogicalMessage, RelationMessage, Truncate, Watched
from pgcast.wal.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.engine.backoff import Backoff
    from pgcast.engine.hub import Hub
    from pgcast.engine.ports import Database, StreamStart
    from pgcast.model.lsn import Lsn
    from pgcast.wal.decoder import Message

log = get_logger(__name__)

_STATUS_S = 1.0
_TURN_S = 0.005
_LARGE_BYTES = 1 << 20
_PARTITIONS_S = 1.0


class _OpenAnew(StreamEnded):
    """The stream is well, and is opened anew all the same."""


class Pipeline:
    """Follows one slot.

    Args:
        database: Whose slot; its catalog is asked about each relation that is announced.
        hub: Where changes go.
        backoff: How long to wait before the stream is opened again.
        when_lost: Called when changes may have been lost for everybody: the slot is new, or the database another one.

    Attributes:
        relays: Whom else the stream has something for.
    """

    def __init__(self, database: Database, hub: Hub, backoff: Backoff, when_lost: Callable[[], None]) -> None:
        self.health = Health()
        self.progress = Progress()
        self.epoch = ""
        self.known_floor: Floor | None = None
        self.publications = tuple(database.publications)
        self.opened = asyncio.Event()
        self.confirmed = NO_LSN
        self.confirmed_at_s = 0.0
        self.is_standby = False
        self.slot_created = False
        self.written = NO_LSN
        self.transactions = 0
        self.reconnects = 0
        self.relays = Relays()
        self._source = database.source
        self._catalog = database.catalog
        self.privileges = Privileges(database.catalog, hub.sights)
        self._hub = hub
        self._backoff = backoff
        self._when_lost = when_lost
        self._decoder = Decoder()
        self._tables = Tables(self._catalog, self.privileges, hub, self.relays, self.progress, self.ask_for_progress)
        self._transaction: Transaction | None = None
        self._partitions: Partitions | None = None  # on the versions that need it
        self._again_from: Lsn | None = None  # how far what was read before has been read again
        self._interruption: PgcastError | None = None
        self._start_over_because = ""
        self._begun: Begin | None = None  # the last transaction, wherever its changes are numbered
        self._fruitless = 0  # how many streams in a row ended for want of something, and brought nothing
        self._loop = asyncio.get_running_loop()
        self._status_timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Open the stream, once.

        Raises:
            DatabaseError: It could not be opened; the subclass says why.
        """
        progress = self.progress
        start = await self._source.open(
            progress.ended if self._again_from is None else self._again_from, taken=progress.furthest
        )
        self._started(start)

    async def run(self) -> None:
        """Follow the stream for ever, opening it again whenever it breaks; the stream may be open already."""
        keeping = [
            asyncio.create_task(self._tables.keep_current(), name="tables"),
            asyncio.create_task(self._keep_to_partitions(), name="partitions"),
        ]
        try:
            while True:
                wait_s = 0.0
                try:
                    if self._start_over_because:
                        await self._drop_slot()
                    if not self.health.is_streaming:
                        await self.open()
                    await self._follow()
                except PgcastError as error:
                    wait_s = self._broke(error)
                except Exception as error:
                    log.exception("the pipeline failed")
                    wait_s = self._broke(StreamEnded(f"the pipeline failed: {type(error).__name__}"))
                await self._source.close()
                await asyncio.sleep(wait_s)
        finally:
            for task in keeping:
                task.cancel()
            self._stop_status()
            self.health.is_streaming = False

    async def interrupt(self, error: PgcastError) -> None:
        """Close the stream as if it had broken; it is opened again."""
        if self.health.is_streaming:
            self._interruption = error
            await self._source.close()
            self._hub.hold.let_go()

    async def start_over(self, reason: str) -> None:
        """Give up the slot and make a new one: what it still holds is lost, and every client is told."""
        self._start_over_because = reason
        await self.interrupt(StreamEnded(reason))

    def tell_lost(self) -> None:
        """Tell every client that changes may have been lost."""
        self._when_lost()

    async def _drop_slot(self) -> None:
        """Drop the slot; until that has worked it is not followed again, lest it is dropped much later and in vain."""
        log.warning("the slot is dropped and made anew", reason=self._start_over_because)
        await self._source.drop_slot()
        self._start_over_because = ""

    async def close(self) -> None:
        """Confirm what may be confirmed, and end the stream; after `run` was cancelled."""
        self._hub.trim(self._loop.time())
        self.confirmed = max(self.confirmed, self._hub.confirmable)
        if self.confirmed:
            await self._source.finish(self.progress.received, self.confirmed)
        await self._source.close()

    def floor(self) -> Floor:
        """Return what a later run should know of the place that is confirmed now."""
        window = self._hub.window
        place = window.floor
        if self.confirmed > window.confirmable:
            # Confirmed at once, for commits waited for us: the slot does not bring the window's content again.
            number = window.number_after(self.confirmed, -1)
            place = place if number is None else window.place_before(number)
        return Floor(self.epoch, self.confirmed, *place)

    def ask_for_progress(self) -> None:
        """Have Postgres say at once how far it has read: somebody waits for the stream to pass a place."""
        if self.health.is_streaming:
            self._source.send_status(self.progress.received, NO_LSN, reply_requested=True)

    def _started(self, start: StreamStart) -> None:
        epoch = epoch_of(start.system_identifier, start.database)
        is_first = not self.epoch
        # Only we confirm, and never beyond what we have heard of: unless somebody else consumed the slot meanwhile.
        has_moved = start.confirmed_lsn > self.progress.received
        is_new = start.slot_created or epoch != self.epoch or start.forked_at is not None or has_moved
        self.slot_created = start.slot_created
        self.written = start.written_lsn
        if epoch != self.epoch:
            self.relays.since = start.written_lsn
        if is_new:
            # No position of what the server lacks may pass for one of what it wrote in its place.
            floor = floor_of(self.known_floor, start, epoch) if start.forked_at is None else (self.progress.furthest, 0)
            self.progress.restart(start.forked_at or NO_LSN)
            self.progress.hear(start.confirmed_lsn)
            self._hub.window.restart(floor)
            self.confirmed = NO_LSN
            self._again_from = None
            if not is_first and (epoch != self.epoch or start.forked_at is not None):
                self._hub.readers.restart()
            has_backlog = not start.slot_created
            self._partitions = Partitions(has_backlog=has_backlog) if goes_stale(start.server_version) else None
        self.epoch = epoch
        self._decoder = Decoder()
        self.confirmed_at_s = self.confirmed_at_s or self._loop.time()
        self._tables.restart(self._decoder.readers)
        self.health.is_streaming = True
        self.health.heard_at_s = self._loop.time()
        self.health.trouble = ""
        self._backoff.reset()
        self._send_status()
        self.opened.set()
        log.info(
            "replication stream open",
            slot=start.slot,
            slot_created=start.slot_created,
            confirmed_lsn=format_lsn(start.confirmed_lsn),
            server_version=start.server_version,
        )
        if is_new and not is_first:
            log.warning(
                "another slot, or another database, or somebody else has consumed the slot: changes were lost;"
                " clients are told"
                if start.forked_at is None
                else "the server lacks changes that were delivered, as after a failover; clients are told"
            )
            self._when_lost()

    def _broke(self, error: PgcastError) -> float:
        """Let go of a stream that has ended, or could not be opened; return how long to wait before the next one."""
        error = self._interruption or error
        self._interruption = None
        if isinstance(error, SlotLost):
            self._start_over_because = error.message
        elif isinstance(error, NotPrepared) and self.health.is_streaming:
            self._fruitless += 1
            if self._fruitless > 1:
                # Publications are as they have to be now (that is checked at each start), but not as of the place in
                # the WAL where the slot stands.
                self._start_over_because = error.message
                self._fruitless = 0
        if self.health.is_streaming and not isinstance(error, _OpenAnew):
            self.reconnects += 1
        self._stop_status()
        self.opened.clear()
        self.health.is_streaming = False
        self.health.trouble = f"{error.message} {error.hint}".strip()
        self.progress.break_off()
        if self._partitions is not None:
            self._partitions.taken.break_off()
        self._transaction = None
        self._hub.break_off()
        if isinstance(error, _OpenAnew):
            log.info("the replication stream is opened anew", reason=error.message)
            return 0.0
        log.warning(
            "replication stream lost; trying again", error=error.message, hint=error.hint or None, code=error.code
        )
        return self._backoff.next_s()

    async def _follow(self) -> None:
        hub = self._hub
        while True:
            batch = await self._source.read()
            self.health.heard_at_s = self._loop.time()
            await self._take(batch)
            hub.batch_done(self._loop.time())
            if self.is_standby:
                self._confirm_at_once()
            await hub.may_read()

    # fast path: per change
    async def _take(self, batch: list[bytes]) -> None:
        """Process envelopes in order; give way to other tasks every few milliseconds and while the hub is full."""
        decode = self._decoder.decode
        publish = self._publish
        taken = None if self._partitions is None else self._partitions.taken
        hub = self._hub
        relays = self.relays
        clock = self._loop.time
        now_s = clock()
        turn_ends_s = now_s + _TURN_S
        for number, envelope in enumerate(batch):
            if envelope[0] == KEEPALIVE:
                self._take_keepalive(envelope)
                continue
            size_bytes = len(envelope)
            if size_bytes > _LARGE_BYTES:
                message = await self._decode_large(batch, number)
                envelope = envelope[:XLOG_DATA_HEADER]  # noqa: PLW2901 - what else there was is decoded
            else:
                message = decode(envelope, XLOG_DATA_HEADER)
            if isinstance(message, Change):
                if taken is None or not taken.is_repeat(envelope):
                    publish(message, size_bytes, now_s)
                if hub.flusher.pending_bytes > hub.flusher.full_bytes:
                    await hub.may_read()
            else:
                await self._take_other(message, envelope)
                if relays.basin is not None and relays.basin.is_full:
                    await relays.make_room()
                    await hub.may_read()
            if not number & 63:
                now_s = clock()
                if now_s > turn_ends_s:
                    hub.batch_done(now_s)
                    await hub.may_read()
                    turn_ends_s = clock() + _TURN_S

    async def _decode_large(self, batch: list[bytes], number: int) -> Message | Change:
        """Decode one large envelope, and let go of it; others get their turn before and after.

        Reading, decoding and rendering 50 MB take some 80 ms each.
        """
        await asyncio.sleep(0)
        message = self._decoder.decode(batch[number], XLOG_DATA_HEADER)
        batch[number] = b""
        await asyncio.sleep(0)
        return message

    def _publish(self, change: Change, size_bytes: int, now_s: float) -> None:
        """Number a change and hand it on, unless it was taken over before."""
        progress = self.progress
        index = progress.index
        progress.index = index + 1
        transaction = self._transaction
        if index < progress.skip or transaction is None:
            return
        change.transaction = transaction
        change.index = index
        self._hub.publish(change, size_bytes, now_s)

    async def _take_other(self, message: Message, envelope: bytes) -> None:
        if isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self._commit(message)
        elif isinstance(message, RelationMessage):
            # Rows that follow need the table, so the stream waits for the catalog; it is asked once per announcement.
            await self._tables.announced(message.relation)
        elif isinstance(message, Truncate):
            now_s = self._loop.time()
            for oid in message.relation_oids:
                reader = self._decoder.readers.get(oid)
                if reader is not None and (self._partitions is None or not self._partitions.taken.is_repeat(envelope)):
                    self._publish(reader.truncate(), 0, now_s)
        elif isinstance(message, Watched):
            self._take_watched(message.change, envelope)
            if self._hub.is_full:
                await self._hub.may_read()
        elif isinstance(message, LogicalMessage):
            self.relays.take_message(message, self.progress, self._begun)

    def _take_watched(self, change: Change, envelope: bytes) -> None:
        if self._partitions is not None and self._partitions.taken.is_repeat(envelope):
            return
        is_news = self.progress.is_news
        self._publish(change, len(change.record or b""), self._loop.time())
        if is_news and self._begun is not None:
            self.relays.take_insert(change, self._begun.final_lsn)

    async def _keep_to_partitions(self) -> None:
        """Every second, on the versions that need it, see whether partitions have come or gone."""
        while True:
            partitions = self._partitions
            if partitions is not None and self.health.is_streaming:
                try:
                    now = await self._catalog.attached()
                except PgcastError as error:
                    log.debug("the partitions could not be compared", error=error.message)
                else:
                    if partitions is self._partitions and self.health.is_streaming:
                        await self._turn_if_due(partitions, partitions.look(now))
            await asyncio.sleep(_PARTITIONS_S)

    async def _turn_if_due(self, partitions: Partitions, again_from: Lsn | None) -> None:
        if again_from is not None:
            if again_from < self.confirmed:
                self.tell_lost()
            self._again_from = again_from if again_from < self.progress.ended else None
            await self.interrupt(_OpenAnew("a table was attached to a published one: what it wrote since then is read"))
            return
        turn = partitions.passed(self.progress.received if self._again_from is None else self._again_from)
        if turn is Turn.LOST:
            log.warning("a table was attached to a published one, and what it wrote at first is lost; clients are told")
            self.tell_lost()
        if turn is not Turn.NO:
            await self.interrupt(_OpenAnew("partitions of a published table have come or gone"))

    def _begin(self, begin: Begin) -> None:
        self._begun = begin
        if self._partitions is not None and self._partitions.taken.begin(begin.xid, begin.final_lsn):
            self.progress.begin_again()
        else:
            self.progress.begin(begin.final_lsn)
        commit_lsn = self.progress.commit_lsn
        self._transaction = Transaction(
            begin.xid,
            commit_lsn,
            begin.committed_us,
            commit_timestamp(begin.committed_us),
            f"{self.epoch}-{commit_lsn:016x}-".encode(),
        )

    def _commit(self, commit: Commit) -> None:
        transaction, self._transaction = self._transaction, None
        is_again = self._again_from is not None and commit.end_lsn <= self.progress.ended
        if self.progress.commit(commit.end_lsn):
            self.transactions += 1
            self._fruitless = 0
            self._hub.commit(commit.end_lsn)
        elif is_again:
            self._hub.commit_late()
        else:
            self._hub.break_off()
        if self._partitions is not None and transaction is not None:
            self._partitions.taken.commit(commit.end_lsn)
            self._again_from = commit.end_lsn if is_again and commit.end_lsn < self.progress.ended else None
            if self._partitions.is_turn(transaction.xid):
                raise _OpenAnew("a table was attached to a published one")

    def _take_keepalive(self, envelope: bytes) -> None:
        keepalive = parse_keepalive(envelope)
        self.progress.hear(keepalive.wal_end)
        # All commits below this place have been sent before it, and taken over.
        self._hub.window.mark(keepalive.wal_end)
        self._hub.passed(keepalive.wal_end)
        if keepalive.reply_requested:
            self._source.send_status(self.progress.received, NO_LSN)

    def _confirm_at_once(self) -> None:
        """Confirm what was taken over: as a synchronous standby we would hold commits up by confirming later.

        What the window holds is then lost to those who resume after a crash, but to nobody else.
        """
        lsn = self._hub.sinks.limit(self.progress.received if self._transaction is None else self.progress.ended)
        if lsn > self.confirmed:
            self._note_confirmed(lsn)
            self._source.send_status(self.progress.received, lsn)

    def _send_status(self) -> None:
        """Every second: how far we have read, what may be forgotten, and ask how far Postgres is.

        A position is confirmed in a message of its own, followed by one without: a flush position that stays behind
        in the last message keeps a stopping Postgres waiting.
        """
        self._hub.trim(self._loop.time())
        confirmable = self._hub.confirmable
        if self._partitions is not None:
            confirmable = min(confirmable, self._partitions.confirmable)
        if confirmable > self.confirmed:
            self._note_confirmed(confirmable)
            self._source.send_status(self.progress.received, confirmable)
        if self.is_standby:
            self._source.send_status(self.progress.received, self.confirmed, reply_requested=True)
        else:
            self._source.send_status(self.progress.received, NO_LSN, reply_requested=True)
        self._status_timer = self._loop.call_later(_STATUS_S, self._send_status)

    def _note_confirmed(self, lsn: Lsn) -> None:
        self.confirmed = lsn
        self.confirmed_at_s = self._loop.time()

    def _stop_status(self) -> None:
        if self._status_timer is not None:
            self._status_timer.cancel()
            self._status_timer = None
