"""One running server: the pipeline supervised, the clients counted; started, drained and stopped.

Shutdown is: stop accepting, send the clients away such that they come back, end the stream, confirm what was delivered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgcast.channels.limits import Limits
from pgcast.channels.rates import Rate
from pgcast.channels.session import Session
from pgcast.engine.acknowledged import Acknowledged, Memory
from pgcast.engine.authorization import Authorization
from pgcast.engine.clients import Client, Surroundings
from pgcast.engine.database_broadcasts import DatabaseBroadcasts, broadcast_of
from pgcast.engine.decisions import Decisions
from pgcast.engine.dropped import Dropped
from pgcast.engine.expiry import Expiries
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.janitor import Janitor
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.replay import Replays
from pgcast.engine.rooms import RoomKey, Rooms
from pgcast.engine.snapshots import Snapshots
from pgcast.engine.watch import LagLimits, Watch
from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError, SlotBusy, SlotLost
from pgcast.model.messages import is_messages_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pgcast.changes.payload import Payloads
    from pgcast.engine.acknowledged import Identity
    from pgcast.engine.backoff import Backoff
    from pgcast.engine.ports import Catalog, Database, Outlet
    from pgcast.engine.standing import Expiring
    from pgcast.frames.codec import Serializer
    from pgcast.model.claims import Claims
    from pgcast.model.messages import DatabaseMessage

log = get_logger(__name__)

_BUSY_S = 10.0
_BUSY_RETRY_S = 0.25
_PING_S = 1.0
_EXPIRE_S = 1.0
_TABLES_SHOWN = 50
_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class NodeLimits:
    """A node's bounds.

    Attributes:
        hub: Rings, window and ticks.
        client: What one client may ask for.
        lag: How much WAL may wait for the slot.
        max_clients: How many may be connected; 0 for no limit.
        max_joins_per_s: How many joins there may be, all clients together, on average; 0 for no limit.
        messages_h: For how many hours stored messages are kept; 0 to leave their table alone.
    """

    hub: HubLimits = field(default_factory=HubLimits)
    client: Limits = field(default_factory=Limits)
    lag: LagLimits = field(default_factory=LagLimits)
    max_clients: int = 16_384
    max_joins_per_s: float = 0
    messages_h: int = 0


class Node:
    """Everything between the replication stream and the sockets. Made on the event loop it runs on.

    Args:
        database: What is followed.
        payloads: What turns a change into the JSON of its message.
        limits: The bounds.
        backoff: How long to wait before the stream is opened again.
        authorization: Who is asking, and what they may do; by default everybody may come, and there are no private
            topics.
    """

    def __init__(
        self,
        database: Database,
        payloads: Payloads,
        limits: NodeLimits,
        backoff: Backoff,
        authorization: Authorization | None = None,
    ) -> None:
        self.hub = Hub(payloads, limits.hub)
        self.rooms = Rooms(limits.hub.ring_bytes, self.hub.budget, gap_s=limits.hub.flush_gap_s, hold=self.hub.hold)
        self.pipeline = Pipeline(database, self.hub, backoff, self._tell_gap)
        self.pipeline.relays.basin = self.rooms
        self.broadcasts = DatabaseBroadcasts(
            self.pipeline.relays, self._publish, max_payload_bytes=limits.client.max_payload_bytes
        )
        self.watch = Watch(database.observer, self.pipeline, self.hub, limits.lag)
        self.clients: dict[Client, None] = {}
        self.is_draining = False
        self.limited: Counter[str] = Counter()
        self.dropped = Dropped(asyncio.get_running_loop().time)
        self._database = database
        self._limits = limits
        self._snapshots = Snapshots(database.catalog)
        self._decisions = Decisions(database.catalog, self.hub.readers.serve_soon)
        self.hub.readers.ask = self._decisions
        self.memory = Memory(Acknowledged(limits.hub.window_s), limits.hub.window_s)
        self.authorization = Authorization() if authorization is None else authorization
        self.joins = Rate(limits.max_joins_per_s)
        self._expiries: Expiries[Expiring] = Expiries()
        self._around = Surroundings(
            self.hub,
            self.rooms,
            database.catalog,
            self._snapshots,
            self.pipeline,
            self.memory,
            Replays(database.messages, self.broadcasts, self.pipeline, lambda: self.hub.readers.passed_lsn),
            self.authorization,
            self._expiries,
            self.joins,
            self.limited,
            self.dropped,
            asyncio.get_running_loop().time,
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the stream and follow it from now on.

        Raises:
            DatabaseError: The stream could not be opened; the subclass says why.
        """
        await self.open()
        self.follow()

    async def open(self) -> bool:
        """Open the stream; nothing is read of it before `follow`, so that whoever wants all of it can be added first.

        A slot that a dying predecessor holds is waited for, briefly; one that Postgres has invalidated is made anew.

        Returns:
            Whether it was made anew: what it held is lost.

        Raises:
            DatabaseError: The stream could not be opened; the subclass says why.
        """
        is_lost = False
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + _BUSY_S
        has_waited = False
        while True:
            try:
                await self.pipeline.open()
            except SlotBusy as error:
                if loop.time() > give_up_s:
                    raise
                if not has_waited:
                    log.info("another consumer holds the slot; waiting for it to go", reason=error.message)
                has_waited = True
                await asyncio.sleep(_BUSY_RETRY_S)
            except SlotLost as error:
                log.warning("the slot is dropped and made anew; who resumes is told of the gap", reason=error.message)
                await self._database.source.drop_slot()
                is_lost = True
            else:
                break
        if self.authorization.authenticator is not None:
            await self.authorization.authenticator.load()
            await self._say_what_waits()
        return is_lost

    def follow(self) -> None:
        """Follow the stream that was opened, from now on."""
        authenticator = self.authorization.authenticator
        if authenticator is not None:
            self._tasks.append(asyncio.create_task(_for_ever("key set", authenticator.run), name="key set"))
        self._tasks += [
            asyncio.create_task(_for_ever("pings", self._ping), name="pings"),
            asyncio.create_task(_for_ever("expiries", self._expire), name="expiries"),
            asyncio.create_task(_for_ever("watch", self.watch.run), name="watch"),
            asyncio.create_task(self.pipeline.run(), name="pipeline"),
        ]
        if self._limits.messages_h:
            janitor = Janitor(self._database.messages, self._limits.messages_h)
            self._tasks.append(asyncio.create_task(janitor.run(), name="janitor"))

    async def _say_what_waits(self) -> None:
        """Say which tables wait for their policies to be applied: only some roles get their changes."""
        try:
            tables = await self._database.catalog.published_tables()
        except DatabaseError as error:
            log.debug("the tables with row level security could not be listed", error=error.message)
            return
        waiting = [
            f"{table.schema}.{table.name}"
            for table in tables
            if table.is_secured and not is_messages_table(table.schema, table.name)
        ]
        if waiting:
            log.warning(
                "row level security is not evaluated for changes yet: these tables are only for roles that bypass it",
                tables=waiting[:_TABLES_SHOWN],
                count=len(waiting),
            )

    @property
    def catalog(self) -> Catalog:
        """Who is asked about tables, types and snapshots."""
        return self._database.catalog

    @property
    def is_full(self) -> bool:
        """Whether no further client may connect."""
        return 0 < self._limits.max_clients <= len(self.clients)

    @property
    def has_too_many_joins(self) -> bool:
        """Whether there were so many joins lately that whoever connects could not join."""
        return bool(self.joins.limit_per_s) and not self.joins.has_room(self._around.clock(), 0)

    def connect(
        self,
        serializer: Serializer,
        outlet: Outlet,
        identity: Identity | None = None,
        *,
        claims: Claims | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Client:
        """Begin the conversation with a client whose handshake is done.

        Args:
            serializer: What it speaks.
            outlet: Where its frames go.
            identity: Lets it resume later.
            claims: Who it is; None where nothing authenticates clients.
            headers: Of the handshake, those that policies can read.
        """
        session = Session(serializer, self._limits.client, self.limited)
        client = Client(
            session,
            serializer,
            outlet,
            self._around,
            identity=identity,
            claims=claims,
            headers=headers,
            when_gone=self._forget,
        )
        self.clients[client] = None
        return client

    def drain(self) -> None:
        """Send every client away such that it comes back, and take no new one."""
        self.is_draining = True
        self._for_each(Client.disconnect)

    async def stop(self) -> None:
        """End everything; twice is safe."""
        self.drain()
        while self._tasks:
            task = self._tasks.pop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.pipeline.close()
        await self._decisions.close()
        await self._snapshots.close()
        await self.authorization.close()
        await self._database.catalog.close()
        await self._database.observer.close()
        await self._database.messages.close()

    async def _ping(self) -> None:
        """Once a second, ask those who can resume how far they have received, and forget those who stayed away."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PING_S)
            self._for_each(Client.ping_if_due)
            self.memory.acknowledged.expire(loop.time())

    async def _expire(self) -> None:
        """Once a second, end the channels whose tokens have expired."""
        authenticator = self.authorization.authenticator
        while authenticator is not None:
            await asyncio.sleep(_EXPIRE_S)
            for expiring in self._expiries.take_expired(authenticator.now()):
                try:
                    expiring.standing.expire(expiring.channel)
                except Exception:
                    log.exception("a channel whose token has expired could not be ended")

    def _publish(self, message: DatabaseMessage) -> None:
        self.rooms.publish(RoomKey(message.topic, message.is_private), broadcast_of(message), holds=True)

    def _forget(self, client: Client) -> None:
        self.clients.pop(client, None)

    def _tell_gap(self) -> None:
        self.hub.sinks.lost()
        self._for_each(Client.tell_gap)

    def _for_each(self, act: Callable[[Client], None]) -> None:
        """Do something for every client; where that fails, its connection ends, and the others have their turn."""
        for client in list(self.clients):
            try:
                act(client)
            except Exception:
                log.exception("a client failed and is sent away")
                client.break_off()


async def _for_ever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what is to run until the end; if it fails all the same, say so and run it again."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("a task of the node failed; it is started again", task=name)
        await asyncio.sleep(_AGAIN_S)
