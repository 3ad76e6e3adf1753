"""All webhooks of a server: endpoints come and go with the configuration, while the stream goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import httpx

from pgcast.logs import get_logger
from pgcast.model.errors import SettingsError
from pgcast.webhooks.endpoint import Endpoint
from pgcast.webhooks.folder import FolderLock, make_folder, spool_files, spool_path
from pgcast.webhooks.plans import plans_of
from pgcast.webhooks.spool import Spool, SpoolDamaged

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pgcast.changes.payload import Payloads
    from pgcast.engine.hub import Hub
    from pgcast.engine.pipeline import Pipeline
    from pgcast.engine.ports import Catalog
    from pgcast.model.change import Change
    from pgcast.model.webhook import Webhook
    from pgcast.webhooks.plans import Plan, WebhookOptions
    from pgcast.webhooks.spool import SpoolStatus

log = get_logger(__name__)


class Webhooks:
    """The endpoints that are configured now.

    Args:
        options: What the settings say.
        hub: Where changes come from.
        catalog: Filters are checked against it.
        payloads: What turns a change into JSON.
        pipeline: Says how far the WAL is read, and whether the slot is new.

    Attributes:
        endpoints: By their key.
    """

    def __init__(
        self, options: WebhookOptions, hub: Hub, catalog: Catalog, payloads: Payloads, pipeline: Pipeline
    ) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._options = options
        self._hub = hub
        self._catalog = catalog
        self._render = _Renderer(payloads, as_text=options.as_text)
        self._pipeline = pipeline
        self._lock = FolderLock(options.folder)
        self._tls: ssl.SSLContext | None = None

    async def configure(self, webhooks: Sequence[Webhook]) -> None:
        """Have exactly these webhooks from now on; if one cannot be served, nothing changes.

        Raises:
            SettingsError: An item cannot be served, or the folder of the spools cannot be used.
            DatabaseError: The database could not be asked.
        """
        plans = {plan.key: plan for plan in await plans_of(webhooks, self._catalog, self._options)}
        if plans and not self._lock.is_held:
            await asyncio.to_thread(make_folder, self._options.folder)
            await self._lock.acquire()
            log.info("webhooks keep their deliveries in this folder", folder=str(self._options.folder))
            await asyncio.to_thread(_tell_of_orphans, self._options.folder, frozenset(plans))
        if plans and self._tls is None:
            self._tls = await asyncio.to_thread(_tls_context)  # takes a while
        added = [
            Endpoint(plan, self._options, self._tls, self._render, lambda: self._pipeline.progress.received)
            for key, plan in plans.items()
            if key not in self.endpoints and self._tls is not None
        ]
        await asyncio.gather(*(endpoint.open() for endpoint in added))
        changed = [(self.endpoints[key], plan) for key, plan in plans.items() if key in self.endpoints]
        removed = [self.endpoints.pop(key) for key in list(self.endpoints) if key not in plans]
        # Until the next await no change can come between.
        for endpoint in removed:
            self._hub.sinks.remove(endpoint.intake)
        for endpoint, plan in changed:
            self._rewire(endpoint, plan)
        for endpoint in added:
            # Nothing that an earlier run has stored can come again from a new slot. And a server that has not written
            # so far yet is another one, or was restored: what it writes there is not what was stored.
            written = max(self._pipeline.written, self._pipeline.progress.received)
            if self._pipeline.slot_created or endpoint.intake.is_ahead_of(written):
                endpoint.intake.lost()
            self._hub.sinks.add(endpoint.intake)
            self.endpoints[endpoint.plan.key] = endpoint
            endpoint.start()
            _tell(endpoint.plan)
        await asyncio.gather(
            *(endpoint.stop() for endpoint in removed), *(endpoint.change(plan) for endpoint, plan in changed)
        )
        for endpoint in removed:
            _tell_of_orphan(spool_path(self._options.folder, endpoint.plan.key), endpoint.status)

    async def stop(self) -> None:
        """End all of them; twice is safe."""
        endpoints, self.endpoints = list(self.endpoints.values()), {}
        for endpoint in endpoints:
            self._hub.sinks.remove(endpoint.intake)
        await asyncio.gather(*(endpoint.stop() for endpoint in endpoints))
        self._lock.release()

    def _rewire(self, endpoint: Endpoint, plan: Plan) -> None:
        if plan.entries == endpoint.plan.entries:
            return
        endpoint.intake.break_off()
        self._hub.sinks.remove(endpoint.intake)
        endpoint.intake.entries = plan.entries
        self._hub.sinks.add(endpoint.intake)


class _Renderer:
    """Renders a change once, however many endpoints want it."""

    def __init__(self, payloads: Payloads, *, as_text: bool) -> None:
        self._payloads = payloads
        self._as_text = as_text
        self._last: tuple[Change | None, bytes] = (None, b"")

    def __call__(self, change: Change) -> bytes:
        if self._last[0] is not change:
            self._last = (change, self._payloads.legacy(change, as_text=self._as_text))
        return self._last[1]


def _tls_context() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise SettingsError(
            f"webhooks: the certificates to trust cannot be read: {error.strerror}",
            hint="SSL_CERT_FILE is a PEM file with the certificates of authorities, SSL_CERT_DIR a folder of such",
        ) from None


def _tell(plan: Plan) -> None:
    log.info("a webhook is served", webhook=plan.label, signed=bool(plan.keys))
    if not plan.keys:
        log.warning(
            "a webhook's deliveries are not signed: its receiver cannot tell who sent them",
            webhook=plan.label,
            hint="set PGCAST_WEBHOOK_SECRET, or config.secret of the item",
        )


def _tell_of_orphans(folder: Path, keys: Collection[str]) -> None:
    """Say which spools of earlier configurations still hold something."""
    for path in spool_files(folder):
        if path.stem in keys:
            continue
        try:
            spool = Spool(path, 0, must_exist=True)
        except (sqlite3.Error, SpoolDamaged):
            continue
        try:
            status = spool.status()
        finally:
            spool.close()
        _tell_of_orphan(path, status)


def _tell_of_orphan(path: Path, status: SpoolStatus) -> None:
    if status.waiting or status.dead:
        log.warning(
            "an endpoint that is not configured any more has deliveries in its spool",
            webhook=status.label,
            waiting=status.waiting,
            dead=status.dead,
            file=str(path),
        )
