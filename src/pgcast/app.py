"""Settings to a running server: the one place that chooses the adapters."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from pgcast.auth.proxies import TrustedProxies
from pgcast.changes.payload import Payloads
from pgcast.channels.limits import Limits
from pgcast.configuration import read_configuration
from pgcast.engine.acknowledged import Identity
from pgcast.engine.authorization import Authorization
from pgcast.engine.backoff import Backoff
from pgcast.engine.clients import TOO_MANY_JOINS
from pgcast.engine.configured import Configured
from pgcast.engine.hub import HubLimits
from pgcast.engine.metrics import registry_of
from pgcast.engine.node import Node, NodeLimits
from pgcast.engine.ports import Database
from pgcast.engine.watch import LagLimits
from pgcast.jwks import authenticator_by
from pgcast.logs import get_logger
from pgcast.postgres.catalog import PostgresCatalog
from pgcast.postgres.connection import Target, parse_target
from pgcast.postgres.messages import PostgresMessages
from pgcast.postgres.observer import PostgresObserver
from pgcast.postgres.policies import PostgresPolicies
from pgcast.postgres.replication import ReplicationSource
from pgcast.settings import IGNORED, IpVersion, LegacyValues, ResumeBy, Settings, ignored_variables
from pgcast.sockets.handshake import PATHS, Admission, Refusal, TokenDoorkeeper
from pgcast.sockets.listening import BACKLOG, listen, raise_file_limit
from pgcast.sockets.options import SocketOptions
from pgcast.sockets.protocol import Connection, close_idle
from pgcast.state import NodeState
from pgcast.web.broadcast import BroadcastRoute, HttpLimits
from pgcast.web.forwarded import Forwarded
from pgcast.web.routes import make_web, metrics_route, websocket_routes
from pgcast.web.tls import keep_renewed, server_context
from pgcast.webhooks.addresses import parse_rules
from pgcast.webhooks.metrics import WebhookCollector
from pgcast.webhooks.plans import WebhookOptions
from pgcast.webhooks.service import Webhooks

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence

    from pydantic import SecretStr
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from pgcast.engine.authentication import Authenticator
    from pgcast.engine.clients import Client
    from pgcast.engine.ports import Outlet
    from pgcast.sockets.handshake import Doorkeeper
    from pgcast.sockets.protocol import Switchboard

log = get_logger(__name__)

_MB = 1 << 20
_GRACE_S = 10
_GARBAGE_S = 60.0
_FAMILIES = {IpVersion.IPV4: socket.AF_INET, IpVersion.IPV6: socket.AF_INET6}


def target_of(settings: Settings) -> Target:
    """Return the database to connect to.

    Raises:
        SettingsError: DATABASE_URL cannot be read.
    """
    family = 0 if settings.db_ip_version is None else _FAMILIES[settings.db_ip_version]
    if settings.database_url is not None:
        return replace(parse_target(settings.database_url.get_secret_value()), family=family)
    return Target(
        host=settings.db_host,
        port=str(settings.db_port),
        dbname=settings.db_name,
        user=settings.db_user,
        password=settings.db_password.get_secret_value(),
        sslmode=settings.db_ssl,
        family=family,
    )


def make_node(settings: Settings) -> Node:
    """Make the node that the settings describe; on the loop it will run on. Connects to nothing yet.

    Raises:
        SettingsError: DATABASE_URL, a secret or a key set cannot be read.
    """
    target = target_of(settings)
    publications = settings.publications
    database = Database(
        source=ReplicationSource(
            target,
            slot=settings.slot_name,
            publications=publications,
            failover_slot=settings.failover_slot,
            temporary_slot=settings.temporary_slot,
        ),
        catalog=PostgresCatalog(target, publications=publications),
        observer=PostgresObserver(target, slot=settings.slot_name, publications=publications),
        publications=publications,
        messages=PostgresMessages(target, max_payload_bytes=settings.max_payload_bytes),
    )
    limits = NodeLimits(
        hub=HubLimits(
            ring_bytes=settings.ring_mb * _MB,
            rings_bytes=settings.rings_mb * _MB,
            window_bytes=settings.window_mb * _MB,
            window_s=settings.window_s,
            flush_gap_s=settings.flush_ms / 1000,
            hold_s=settings.hold_s,
            legacy_as_text=settings.legacy_values is LegacyValues.TEXT,
        ),
        client=Limits(
            private_only=settings.private_only,
            max_channels=settings.max_channels,
            max_payload_bytes=settings.max_payload_bytes,
            max_messages_per_s=settings.max_messages_per_s,
            max_presence_per_s=settings.max_presence_per_s,
            max_presence_calls=settings.max_presence_calls,
        ),
        lag=LagLimits(
            warn_bytes=settings.lag_warn_mb * _MB,
            max_bytes=settings.max_replication_lag_mb * _MB,
            drops_slot=settings.drop_slot,
        ),
        max_clients=settings.max_connections,
        max_joins_per_s=settings.max_joins_per_s,
        messages_h=settings.messages_h,
    )
    longest_s = settings.db_reconnect_backoff_max / 1000
    backoff = Backoff(min(settings.db_reconnect_backoff_min / 1000, longest_s), longest_s)
    authorization = Authorization(make_authenticator(settings), PostgresPolicies(target))
    return Node(database, Payloads(max_bytes=settings.max_record_bytes), limits, backoff, authorization)


def make_authenticator(settings: Settings) -> Authenticator | None:
    """Make what verifies clients' tokens; None where nothing does. On the loop it will run on.

    Raises:
        SettingsError: A secret or key set cannot be used.
    """
    if not settings.authenticates:
        return None
    return authenticator_by(
        secret=_text(settings.jwt_secret),
        key_set=_text(settings.jwt_jwks),
        validators=settings.jwt_claim_validators,
        publishable=[key.get_secret_value() for key in settings.publishable_keys],
        secret_keys=[key.get_secret_value() for key in settings.secret_keys],
    )


def make_webhooks(settings: Settings, node: Node) -> Webhooks:
    """Make the webhooks of a node; none is configured yet.

    Raises:
        SettingsError: PGCAST_WEBHOOK_ALLOW cannot be read.
    """
    options = WebhookOptions(
        folder=settings.webhook_folder,
        headers=settings.webhook_header_values,
        secrets=settings.webhook_secrets,
        rules=parse_rules(settings.webhook_allow),
        timeout_s=settings.webhook_timeout_s,
        deadline_s=settings.webhook_deadline_s,
        spool_bytes=settings.webhook_spool_mb * _MB,
        body_bytes=settings.webhook_max_kb * 1024,
        as_text=settings.legacy_values is LegacyValues.TEXT,
    )
    payloads = Payloads(max_bytes=settings.max_record_bytes)
    return Webhooks(options, node.hub, node.catalog, payloads, node.pipeline)


@dataclass(frozen=True, slots=True)
class Carried:
    """A running node, and what its clients meet; whoever has the port carries it.

    Attributes:
        node: The node.
        web: What answers over HTTP.
        switchboard: Takes clients in.
        doorkeeper: Decides who they are.
        options: How their connections behave.
        reload: Reads CONFIGURATION_FILE again, soon; a file with a mistake in it changes nothing.
    """

    node: Node
    web: ASGIApp
    switchboard: Switchboard
    doorkeeper: Doorkeeper
    options: SocketOptions
    reload: Callable[[], None]


@contextlib.asynccontextmanager
async def carried(settings: Settings, routes: Sequence[BaseRoute] = ()) -> AsyncIterator[Carried]:
    """Run the node that the settings describe, with all but a port, until the block ends.

    Args:
        settings: All of them.
        routes: Served over HTTP beside our own.

    Raises:
        SettingsError: A setting cannot be used.
        DatabaseError: The replication stream cannot be opened; the subclass says why.
    """
    configuration = await asyncio.to_thread(read_configuration, settings.configuration_file)
    node = make_node(settings)
    state = NodeState(node, settings.state_dir)
    webhooks = make_webhooks(settings, node)
    file = settings.configuration_file
    configured = Configured(node.hub, webhooks.configure, None if file is None else partial(read_configuration, file))
    proxies = TrustedProxies(settings.trusted_proxies)
    registry = registry_of(node)
    registry.register(WebhookCollector(webhooks))
    ours = [
        _broadcast_route(node, settings),
        *websocket_routes(PATHS),
        *([metrics_route(registry)] if settings.exposes_metrics else []),
    ]
    try:
        await node.open()
        await configured.put(configuration)
        node.follow()
        async with state.kept(), _running(configured.run()):
            yield Carried(
                node,
                Forwarded(make_web(node.pipeline.health, [*routes, *ours]), proxies),
                _Switchboard(node, by_subject=settings.resume is ResumeBy.IDENTITY),
                TokenDoorkeeper(node.authorization.authenticator),
                SocketOptions(max_frame_bytes=settings.max_frame_bytes, idle_s=settings.idle_s, proxies=proxies),
                configured.reload,
            )
    finally:
        await node.stop()
        await webhooks.stop()


class Server:
    """A node and the port it is reached on.

    Args:
        settings: All of them.
        routes: Served over HTTP beside our own.
    """

    def __init__(self, settings: Settings, routes: Sequence[BaseRoute] = ()) -> None:
        self._settings = settings
        self._routes = routes
        self._uvicorn: uvicorn.Server | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._carried: Carried | None = None
        self._is_reload_wanted = False

    async def run(self, when_started: Callable[[int], None] | None = None) -> None:
        """Serve until `stop` is called; then send the clients away and confirm what was delivered.

        Signals are the caller's business.

        Args:
            when_started: Called with the port once clients may come.

        Raises:
            SettingsError: The address cannot be listened on, or the certificate cannot be used.
            DatabaseError: The replication stream cannot be opened; the subclass says why.
        """
        self._running = asyncio.current_task()
        try:
            await self._run(when_started)
        except asyncio.CancelledError:
            if not self._is_stopped:
                raise

    def stop(self) -> None:
        """Ask `run` to end, however far it is; twice is safe."""
        self._is_stopped = True
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        elif self._running is not None:
            self._running.cancel()

    def reload(self) -> None:
        """Read CONFIGURATION_FILE again, soon; a file with a mistake in it changes nothing."""
        if self._carried is None:
            self._is_reload_wanted = True  # the file may have been read already
        else:
            self._carried.reload()

    async def _run(self, when_started: Callable[[int], None] | None) -> None:
        raise_file_limit()
        tls = _tls_of(self._settings)
        with contextlib.closing(listen(self._settings.listen_address, self._settings.port)) as listening:
            async with carried(self._settings, self._routes) as node:
                self._carried = node
                if self._is_reload_wanted:
                    node.reload()
                await self._serve(node, listening, tls, when_started)

    async def _serve(
        self,
        node: Carried,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        when_started: Callable[[int], None] | None,
    ) -> None:
        settings = self._settings
        config = uvicorn.Config(
            node.web,
            http="httptools",
            # uvicorn only ever calls it, with these three keywords.
            ws=lambda config, server_state, app_state: Connection(  # type: ignore[arg-type]  # noqa: ARG005
                node.switchboard, node.doorkeeper, node.options, server_state.connections
            ),
            lifespan="off",
            access_log=False,
            proxy_headers=False,  # uvicorn's own would believe whoever FORWARDED_ALLOW_IPS names, by default loopback
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=_GRACE_S,
        )
        config.load()
        config.ssl = tls
        server = _NotifyingServer(config)
        self._uvicorn = server
        port = listening.getsockname()[1]
        if when_started is not None:
            server.when_started = lambda: when_started(port)
        log.info(
            "listening",
            address=settings.listen_address,
            port=port,
            url=f"{'http' if tls is None else 'https'}://{settings.hostname}:{port}",
            authenticates=settings.authenticates,
            slot=settings.slot_name,
            publications=list(settings.publications),
        )
        _tell_what_matters(settings)
        connections = server.server_state.connections
        chores = [
            asyncio.create_task(_collect_garbage(lambda: len(connections))),
            asyncio.create_task(close_idle(connections, settings.idle_s)),
        ]
        if tls is not None and settings.tls_cert is not None and settings.tls_key is not None:
            chores.append(asyncio.create_task(keep_renewed(tls, settings.tls_cert, settings.tls_key)))
        for chore in chores:
            chore.add_done_callback(_say_why)
        try:
            await server.serve(sockets=[listening])
        finally:
            for chore in chores:
                chore.cancel()


@contextlib.asynccontextmanager
async def _running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Have something run beside."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _tell_what_matters(settings: Settings) -> None:
    """Log what an operator would want to know about the settings."""
    if not settings.authenticates:
        reach = "loopback only" if settings.listens_on_loopback else "any address that is listened on"
        log.warning(
            "no client needs a token: everybody who can connect sees every published change",
            reachable_from=reach,
            hint="set JWT_SECRET, JWT_JWKS, PGCAST_PUBLISHABLE_KEYS or PGCAST_SECRET_KEYS",
        )
    ignored = ignored_variables()
    if ignored:
        log.warning("settings of the original server without effect", **{name: IGNORED[name] for name in ignored})


def _tls_of(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return server_context(settings.tls_cert, settings.tls_key)


async def _collect_garbage(count_connections: Callable[[], int]) -> None:
    """Collect cycles rarely, and when connections have gone: changes make none, and the collector looks at each.

    benchmarks/pipeline.py prints what Python's own thresholds would cost.
    """
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
    before = 0
    while True:
        await asyncio.sleep(_GARBAGE_S)
        now = count_connections()
        if now < before:
            gc.collect()
        before = now


def _say_why(task: asyncio.Task[None]) -> None:
    """Log why a task has ended that was to run until the end."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a task of the server failed", exc_info=error)


class _NotifyingServer(uvicorn.Server):
    """A server that tells when clients may come, and does not handle signals."""

    when_started: Callable[[], None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.when_started is not None:
            self.when_started()


class _Switchboard:
    """The node, as connections know it."""

    def __init__(self, node: Node, *, by_subject: bool) -> None:
        self._node = node
        self._by_subject = by_subject

    def admit(self) -> Refusal | None:
        if self._node.is_draining:
            return Refusal(503, "Realtime is restarting, please standby")
        if self._node.is_full:
            self._node.limited["connections"] += 1
            return Refusal(429, "Too many connected users")
        if self._node.has_too_many_joins:
            self._node.limited["joins"] += 1
            return Refusal(429, TOO_MANY_JOINS)
        return None

    def connect(self, admission: Admission, outlet: Outlet) -> Client:
        identity = _identity_of(admission, self._by_subject)
        return self._node.connect(
            admission.serializer, outlet, identity, claims=admission.claims, headers=admission.headers
        )


def _broadcast_route(node: Node, settings: Settings) -> BroadcastRoute:
    limits = HttpLimits(
        max_payload_bytes=settings.max_payload_bytes,
        max_body_bytes=settings.max_frame_bytes,
        max_messages_per_s=settings.max_messages_per_s,
    )
    asked = node.authorization
    return BroadcastRoute(node.rooms, asked.claims_of_request, asked.may_publish, limits, node.limited)


def _text(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()


def _identity_of(admission: Admission, by_subject: bool) -> Identity | None:  # noqa: FBT001 - one of two ways
    if admission.resume is not None:
        return Identity(admission.resume)
    subject = admission.claims.values.get("sub") if by_subject and admission.claims is not None else None
    return Identity(subject, is_shared=True) if isinstance(subject, str) and subject else None
