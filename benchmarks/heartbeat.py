"""What idle clients notice of a large transaction that flows to somebody else: how long their heartbeats take.

Ten clients, joined to a table that nobody touches, send heartbeats one after the other, a millisecond apart, all from
one thread, so that what is measured is the server and not the clients' own queue. First while nothing else happens;
then while one client receives a transaction of 300,000 small rows, or of 50 rows of 2 MB, which it counts. Of the
loaded heartbeats those count that were sent between that client's first row and its last.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import servers
from database import PUBLICATION
from load import Load, WrongCount
from report import Latencies
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from database import Database
    from servers import Server
    from websockets.sync.client import ClientConnection

CLIENTS = 10
GOAL_MS = 100.0
QUIET_S = 2.0
# Beyond the numbers of other scenarios in the same table.
FIRST_NUMBER = 1_000_000_000
_PAUSE_S = 0.001
_ANSWER_S = 30.0
_HEARTBEAT = '[null,"1","phoenix","heartbeat",{}]'


@dataclass(frozen=True, slots=True)
class Workload:
    """One transaction."""

    name: str
    rows: int
    note: str


WORKLOADS = (
    Workload("300,000 rows", 300_000, "benchmark"),
    Workload("50 rows of 2 MB", 50, "x" * 2_000_000),
)


def heartbeat(database: Database, rounds: int) -> Latencies:
    """Measure each round without load, then beside each transaction."""
    results = Latencies("heartbeat", "idle", GOAL_MS)
    numbers = FIRST_NUMBER
    with (
        servers.pgcast(database.dsns["unix"], slot="pgcast_heartbeat", publication=PUBLICATION) as server,
        _idle_clients(server) as clients,
    ):
        for number in range(1, rounds + 1):
            for workload in WORKLOADS:
                quiet = _beat(clients, _for(QUIET_S))
                try:
                    loaded = _beat_beside(database, server, clients, workload, numbers)
                except WrongCount as mistake:
                    results.add_mistake(workload.name, number, mistake)
                else:
                    results.add(workload.name, number, [ms for _, ms in quiet], loaded)
                numbers += workload.rows
    return results


def _beat_beside(
    database: Database, server: Server, clients: list[ClientConnection], workload: Workload, first: int
) -> list[float]:
    """Return what the heartbeats took, in milliseconds, while a transaction flowed."""
    with Load(port=server.port, path=server.path, join=_join("bench"), clients=1, frames=workload.rows) as load:
        ended = threading.Event()
        writing = threading.Thread(target=database.insert, args=(first, workload.rows, workload.note))
        counting = threading.Thread(target=lambda: (load.wait(), ended.set()))
        for thread in (writing, counting):
            thread.start()
        beats = _beat(clients, lambda: not ended.is_set())
        for thread in (writing, counting):
            thread.join()
        counted = load.result()
    return [ms for sent_ns, ms in beats if counted.first_ns <= sent_ns <= counted.last_ns]


def _beat(clients: list[ClientConnection], goes_on: Callable[[], bool]) -> list[tuple[int, float]]:
    """Send heartbeats; return when each was sent, and how many milliseconds its answer took."""
    beats = []
    for client in cycle(clients):
        if not goes_on():
            return beats
        sent_ns = time.monotonic_ns()
        client.send(_HEARTBEAT)
        client.recv(_ANSWER_S)
        beats.append((sent_ns, (time.monotonic_ns() - sent_ns) / 1e6))
        time.sleep(_PAUSE_S)
    return beats


def _for(seconds: float) -> Callable[[], bool]:
    ends_s = time.monotonic() + seconds
    return lambda: time.monotonic() < ends_s


@contextmanager
def _idle_clients(server: Server) -> Iterator[list[ClientConnection]]:
    with ExitStack() as open_ones:
        clients = []
        for _ in range(CLIENTS):
            url = f"ws://127.0.0.1:{server.port}{server.path}"
            client = open_ones.enter_context(connect(url, compression=None, ping_interval=None))
            client.send(_join("orders"))
            while "Subscribed to PostgreSQL" not in str(client.recv(_ANSWER_S)):
                pass
            clients.append(client)
        yield clients


def _join(table: str) -> str:
    binding = {"event": "*", "schema": "public", "table": table}
    payload = {"config": {"postgres_changes": [binding], "presence": {"enabled": False}}}
    return json.dumps(["1", "1", f"realtime:{table}", "phx_join", payload])
