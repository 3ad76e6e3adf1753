"""What a monitoring system asks: every metric, declared once, read from the node when it is asked for.

Nothing is counted on the fast path that was not there already, so a metric costs nothing until somebody looks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.engine.node import Node

LIMITS = ("messages", "payload", "presence", "presence_calls", "channels", "joins", "connections")
"""The names of the limits of what clients send."""

_WAL_STATUSES = ("reserved", "extended", "unreserved", "lost")


def registry_of(node: Node) -> CollectorRegistry:
    """Return a registry that has the metrics of one node."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(node))
    return registry


class NodeCollector(Collector):
    """Reads a node's state as metrics.

    Args:
        node: Whose.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now; on the node's event loop."""
        yield from self._stream()
        yield from self._slot()
        yield from self._clients()
        yield from self._rooms()

    def _stream(self) -> Iterator[Metric]:
        pipeline = self._node.pipeline
        now_s = asyncio.get_running_loop().time()
        yield _gauge("pgcast_ready", "1 when changes flow, or would", pipeline.health.is_ready(now_s))
        yield _counter("pgcast_changes", "Changes read from the replication stream", self._node.hub.window.end)
        yield _counter("pgcast_transactions", "Transactions read from the replication stream", pipeline.transactions)
        yield _counter("pgcast_reconnects", "How often the replication stream broke", pipeline.reconnects)
        yield _gauge(
            "pgcast_received_lsn", "The furthest WAL position heard of, as a number", pipeline.progress.received
        )
        yield _gauge(
            "pgcast_confirmed_lsn", "The last WAL position that was confirmed, as a number", pipeline.confirmed
        )
        yield _gauge(
            "pgcast_confirmed_age_seconds",
            "How long ago a position was last confirmed",
            now_s - pipeline.confirmed_at_s,
        )

    def _slot(self) -> Iterator[Metric]:
        seen = self._node.watch.seen
        if seen is None:
            return
        yield _gauge("pgcast_slot_lag_bytes", "WAL that the slot has not confirmed", seen.lag_bytes)
        yield _gauge("pgcast_slot_retained_bytes", "WAL that Postgres keeps for the slot", seen.retained_bytes)
        status = GaugeMetricFamily("pgcast_slot_wal_status", "1 for the slot's wal_status", labels=["status"])
        for name in _WAL_STATUSES:
            status.add_metric([name], float(seen.wal_status == name))
        yield status

    def _clients(self) -> Iterator[Metric]:
        node = self._node
        hub = node.hub
        yield _gauge("pgcast_connections", "Connected clients", len(node.clients))
        yield _gauge("pgcast_channels", "Joined channels that get changes", hub.member_count)
        yield _gauge("pgcast_groups", "Sets of channels that share their frames", hub.group_count)
        yield _gauge("pgcast_window_changes", "Changes held for those who resume", hub.window.end - hub.window.start)
        yield _gauge("pgcast_window_bytes", "About what they take", hub.window.size_bytes)
        yield _gauge("pgcast_ring_bytes", "Frames held for slow readers", hub.ring_bytes)
        yield _gauge("pgcast_window_readers", "Channels that are served from the window", len(hub.readers))
        yield _counter("pgcast_ticks", "Flushes to the sockets", hub.flusher.ticks)
        yield _counter("pgcast_writes", "Ticks written to a channel's socket", hub.flusher.writes)
        yield _counter(
            "pgcast_database_broadcasts", "Broadcasts from the database that were handed on", node.broadcasts.delivered
        )
        yield _counter(
            "pgcast_database_broadcasts_dropped",
            "Broadcasts from the database that could not be delivered",
            node.broadcasts.dropped,
        )
        yield _gauge("pgcast_marks", "Acknowledged positions that are kept", len(node.memory.acknowledged))

    def _rooms(self) -> Iterator[Metric]:
        rooms = self._node.rooms
        yield _gauge("pgcast_rooms", "Topics that somebody has joined", len(rooms))
        yield _gauge("pgcast_room_members", "Joined channels", rooms.member_count)
        yield _gauge("pgcast_presences", "Channels that say they are there", rooms.presence_count)
        yield _counter("pgcast_broadcasts", "Broadcasts that were taken to be delivered", rooms.published)
        yield _counter(
            "pgcast_presence_diffs", "How often the members of a topic were told who came and went", rooms.differences
        )
        yield _counter("pgcast_room_writes", "Ticks of broadcasts and presence written to a socket", rooms.writes)
        yield _counter(
            "pgcast_room_cut_off",
            "Connections closed because broadcasts they had not read were no longer held",
            rooms.cut_off,
        )
        limited = CounterMetricFamily(
            "pgcast_limited", "What was refused, by the limit that it was over", labels=["limit"]
        )
        for name in LIMITS:
            limited.add_metric([name], float(self._node.limited[name]))
        yield limited
        dropped = CounterMetricFamily(
            "pgcast_dropped_messages", "Messages of clients that were dropped, by the reason", labels=["reason"]
        )
        dropped.add_metric(["malformed"], float(self._node.dropped.malformed))
        dropped.add_metric(["unexpected"], float(self._node.dropped.unexpected))
        yield dropped


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))
