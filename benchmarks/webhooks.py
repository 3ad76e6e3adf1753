"""What WebSocket clients notice of webhooks: how long a change takes to reach them, with and without.

Rows are inserted one after the other, each as soon as a client has got the one before; what is timed is from the
INSERT to its arrival. First with a server without webhooks; then with one that also stores each of these changes for an
endpoint and delivers it there, as well as that goes: the endpoint fails 30 % of its requests and does not answer 5 %.
Each server has a temporary slot, and is alone while it is measured. The client must get every row once, in order.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import servers
from database import PUBLICATION
from load import WrongCount
from report import Latencies
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from database import Database
    from servers import Server

CHANGES = 3000
WARM_UP = 300
GOAL_MS = 100.0
FIRST_NUMBER = 2_000_000_000
_ANSWER_S = 30.0
_NOTE = "benchmark"
_WORKLOAD = "30 % fail, 5 % hang"


def webhooks(database: Database, rounds: int) -> Latencies:
    """Measure both servers in each round."""
    results = Latencies("webhooks", "without", GOAL_MS)
    numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + 2 * rounds * (CHANGES + WARM_UP)))
    with servers.endpoint() as endpoint:
        for number in range(1, rounds + 1):
            try:
                quiet = _measure(database, numbers, {})
                with _configured(endpoint) as settings:
                    loaded = _measure(database, numbers, settings)
            except WrongCount as mistake:
                results.add_mistake(_WORKLOAD, number, mistake)
            else:
                results.add(_WORKLOAD, number, quiet, loaded)
    return results


def _measure(database: Database, numbers: Iterator[int], settings: dict[str, str]) -> list[float]:
    """Return what each change took, in milliseconds."""
    with servers.pgcast(
        database.dsns["unix"], slot="pgcast_webhooks", publication=PUBLICATION, TEMPORARY_SLOT="true", **settings
    ) as server:
        times = list(_times(database, server, numbers))
    return times[WARM_UP:]


def _times(database: Database, server: Server, numbers: Iterator[int]) -> Iterator[float]:
    with connect(f"ws://127.0.0.1:{server.port}{server.path}", compression=None, ping_interval=None) as client:
        binding = {"event": "INSERT", "schema": "public", "table": "bench"}
        config = {"postgres_changes": [binding], "presence": {"enabled": False}}
        client.send(json.dumps(["1", "1", "realtime:bench", "phx_join", {"config": config}]))
        while "Subscribed to PostgreSQL" not in str(client.recv(_ANSWER_S)):
            pass
        for _ in range(WARM_UP + CHANGES):
            number = next(numbers)
            begin_ns = time.monotonic_ns()
            database.insert(number, 1, _NOTE)
            text = client.recv(_ANSWER_S)
            yield (time.monotonic_ns() - begin_ns) / 1e6
            got = json.loads(text)[4].get("data", {}).get("record", {}).get("id")
            if got != number:
                raise WrongCount(f"the client should have got the row {number}, and got {got}")


@contextmanager
def _configured(endpoint: Server) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "configuration.json"
        url = f"http://127.0.0.1:{endpoint.port}{endpoint.path}"
        file.write_text(json.dumps({"webhooks": [{"relation": "public:bench", "config": {"endpoint": url}}]}))
        yield {
            "CONFIGURATION_FILE": str(file),
            "PGCAST_STATE_DIR": folder,
            "PGCAST_WEBHOOK_ALLOW": "127.0.0.1",
            "PGCAST_WEBHOOK_TIMEOUT_S": "1",
            "PGCAST_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        }
