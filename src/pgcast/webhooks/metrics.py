"""The webhooks' metrics, read from the endpoints when a monitoring system asks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.webhooks.service import Webhooks


class WebhookCollector(Collector):
    """Reads the endpoints' state as metrics, each with the label `endpoint`.

    Args:
        webhooks: Whose.
    """

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now; on the event loop."""
        now_s = time.time()
        delivered = _counter("pgcast_webhook_delivered", "Deliveries that arrived")
        failed = _counter("pgcast_webhook_failed", "Attempts that failed")
        retries = _counter("pgcast_webhook_retries", "Attempts that were not the first one of their delivery")
        dead = _counter("pgcast_webhook_dead", "Deliveries that were set aside")
        lost = _counter("pgcast_webhook_lost_changes", "Changes that were lost: the spool was full or not writable")
        waiting = _gauge("pgcast_webhook_waiting", "Deliveries that wait")
        dead_now = _gauge("pgcast_webhook_dead_letters", "Deliveries that were set aside and are kept")
        oldest = _gauge("pgcast_webhook_oldest_seconds", "How long the oldest has waited")
        spool = _gauge("pgcast_webhook_spool_bytes", "What the spool holds")
        skipped = _gauge("pgcast_webhook_skipped_changes", "Changes that stay in the WAL until a restart")
        gone = _gauge("pgcast_webhook_gone", "1 when the endpoint has answered 410 Gone")
        for endpoint in self._webhooks.endpoints.values():
            labels = [endpoint.plan.label]
            tally, status = endpoint.tally, endpoint.status
            delivered.add_metric(labels, tally.delivered)
            failed.add_metric(labels, tally.failed)
            retries.add_metric(labels, tally.retries)
            dead.add_metric(labels, tally.dead)
            lost.add_metric(labels, tally.lost)
            waiting.add_metric(labels, status.waiting)
            dead_now.add_metric(labels, status.dead)
            oldest.add_metric(labels, 0.0 if status.oldest_s is None else max(now_s - status.oldest_s, 0.0))
            spool.add_metric(labels, status.waiting_bytes + status.dead_bytes)
            skipped.add_metric(labels, endpoint.intake.skipped)
            gone.add_metric(labels, float(endpoint.is_gone))
        yield from (delivered, failed, retries, dead, lost, waiting, dead_now, oldest, spool, skipped, gone)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["endpoint"])


def _counter(name: str, text: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=["endpoint"])
