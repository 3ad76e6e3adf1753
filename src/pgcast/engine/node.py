"""One running server: the pipeline supervised, the clients counted; started, drained and stopped.

Shutdown is: stop accepting, send the clients away such that they come back, end the stream, confirm what was delivered.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgcast.channels.session import Session
from pgcast.engine.acknowledged import Acknowledged
from pgcast.engine.clients import Client, Memory, Surroundings
from pgcast.engine.hub import Hub
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.snapshots import Snapshots
from pgcast.model.errors import SlotBusy

if TYPE_CHECKING:
    from pgcast.changes.payload import Payloads
    from pgcast.channels.limits import Limits
    from pgcast.engine.acknowledged import Identity
    from pgcast.engine.backoff import Backoff
    from pgcast.engine.hub import HubLimits
    from pgcast.engine.ports import Catalog, ChangeSource, Outlet
    from pgcast.frames.codec import Serializer

_BUSY_S = 10.0
_BUSY_RETRY_S = 0.25
_PING_S = 1.0


class Node:
    """Everything between the replication stream and the sockets. Made on the event loop it runs on.

    Args:
        source: The replication stream.
        catalog: Asked about tables, types and snapshots.
        payloads: What turns a change into the JSON of its message.
        hub_limits: The bounds of rings, window and ticks.
        client_limits: What one client may ask for.
        max_clients: How many may be connected.
        backoff: How long to wait before the stream is opened again.
    """

    def __init__(
        self,
        source: ChangeSource,
        catalog: Catalog,
        payloads: Payloads,
        hub_limits: HubLimits,
        client_limits: Limits,
        *,
        max_clients: int,
        backoff: Backoff,
    ) -> None:
        self.hub = Hub(payloads, hub_limits)
        self.pipeline = Pipeline(source, catalog, self.hub, backoff, self._tell_gap)
        self.clients: dict[Client, None] = {}
        self.is_draining = False
        self._catalog = catalog
        self._snapshots = Snapshots(catalog)
        self.memory = Memory(Acknowledged(hub_limits.window_s), hub_limits.window_s)
        self._around = Surroundings(self.hub, catalog, self._snapshots, self.pipeline, self.memory)
        self._client_limits = client_limits
        self._max_clients = max_clients
        self._following: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the stream and follow it from now on. A slot that a dying predecessor holds is waited for, briefly.

        Raises:
            DatabaseError: The stream could not be opened; the subclass says why.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + _BUSY_S
        while True:
            try:
                await self.pipeline.open()
                break
            except SlotBusy:
                if loop.time() > give_up_s:
                    raise
                await asyncio.sleep(_BUSY_RETRY_S)
        self._following = asyncio.create_task(self.pipeline.run(), name="pipeline")
        self._pinging = asyncio.create_task(self._ping(), name="pings")

    @property
    def is_full(self) -> bool:
        """Whether no further client may connect."""
        return len(self.clients) >= self._max_clients

    def connect(self, serializer: Serializer, outlet: Outlet, identity: Identity | None = None) -> Client:
        """Begin the conversation with a client whose handshake is done; an identity lets it resume later."""
        session = Session(serializer, self._client_limits)
        client = Client(session, serializer, outlet, self._around, identity=identity, when_gone=self._forget)
        self.clients[client] = None
        return client

    def drain(self) -> None:
        """Send every client away such that it comes back, and take no new one."""
        self.is_draining = True
        for client in list(self.clients):
            client.disconnect()

    async def stop(self) -> None:
        """End everything; twice is safe."""
        self.drain()
        for task in (self._pinging, self._following):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._pinging = self._following = None
        await self.pipeline.close()
        await self._snapshots.close()
        await self._catalog.close()

    async def _ping(self) -> None:
        """Once a second, ask those who can resume how far they have received, and forget those who stayed away."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PING_S)
            for client in list(self.clients):
                client.ping_if_due()
            self.memory.acknowledged.expire(loop.time())

    def _forget(self, client: Client) -> None:
        self.clients.pop(client, None)

    def _tell_gap(self) -> None:
        for client in list(self.clients):
            client.tell_gap()
