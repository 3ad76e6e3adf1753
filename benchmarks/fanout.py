"""One message to many clients: pgcast, fed by Postgres, beside two WebSocket servers that are merely told to publish.

Every system gets the same work: 1,000 clients join; then messages are released in bursts, in a closed loop with at most
four bursts that not every client has received yet; the run ends when every client has every message. A burst is one
message (`single`) or a hundred (`by 100`). For pgcast releasing a burst is an INSERT of so many rows in one
transaction, prepared, over the unix socket, and the way through the WAL is part of the time; the others get an order
over a WebSocket of the driver's and publish at once, in one turn of their loop, messages as long as pgcast's.

Measured are deliveries per second, from the first release to the last arrival, and the server's processor time per
delivery. With four bursts outstanding a server may well write two or more of them together: that is open to all, and
part of what is measured.

Postgres commits with `synchronous_commit` on (and `fsync` off): with it off, a commit waits for the WAL writer's next
round, up to 200 ms, before any consumer of the WAL can see it.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import servers
from database import PUBLICATION
from load import Load, MeasurementFailed, WrongCount
from report import Measured, Results, say
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from database import Database
    from servers import Server

CLIENTS = 1000
OUTSTANDING = 4
# All numbers have seven digits, so that all messages have one length.
FIRST_NUMBER = 1_000_000
NOTE = "benchmark"
_JOIN = (
    '["1","1","realtime:bench","phx_join",'
    '{"config":{"postgres_changes":[{"event":"INSERT","schema":"public","table":"bench"}]}}]'
)


@dataclass(frozen=True, slots=True)
class Workload:
    """How much is released, and in which bursts."""

    name: str
    bursts: int
    burst: int


WARM_UP = Workload("warm-up", bursts=20, burst=10)
WORKLOADS = (Workload("single", bursts=500, burst=1), Workload("by 100", bursts=100, burst=100))


class System:
    """A server, and the way to make it publish.

    Args:
        server: The server.
        release: Called with the first number and the count of the messages to publish.
    """

    def __init__(self, server: Server, release: Callable[[int, int], None]) -> None:
        self.server = server
        self._release = release
        self._next = FIRST_NUMBER

    def release(self, count: int) -> None:
        """Have the next messages published."""
        self._release(self._next, count)
        self._next += count


def fanout(database: Database, rounds: int) -> Results:
    """Measure all systems in turns; a baseline that does not run here is left out, with a word why."""
    results = Results("fanout", "deliveries")
    with ExitStack() as running:
        systems = [running.enter_context(_pgcast(database))]
        message_bytes = _warm_up(systems[0])
        say(f"fanout: {CLIENTS:,} clients, {message_bytes} bytes a message")
        for baseline in (servers.uwebsockets, servers.ws):
            try:
                systems.append(running.enter_context(_baseline(running.enter_context(baseline()), message_bytes)))
            except MeasurementFailed as reason:
                say(f"fanout: left out: {reason}")
        for system in systems[1:]:
            _warm_up(system)
        for number in range(1, rounds + 1):
            for workload in WORKLOADS:
                for system in systems:
                    try:
                        results.add(workload.name, system.server.name, number, _run(system, workload))
                    except WrongCount as mistake:
                        results.add_mistake(workload.name, system.server.name, number, mistake)
    return results


def _warm_up(system: System) -> int:
    """Let a server meet its work, and return the length of its messages."""
    return _measure(system, WARM_UP)[1]


def _run(system: System, workload: Workload) -> Measured:
    return _measure(system, workload)[0]


def _measure(system: System, workload: Workload) -> tuple[Measured, int]:
    server, frames = system.server, workload.bursts * workload.burst
    with Load(
        port=server.port, path=server.path, join=_JOIN, clients=CLIENTS, frames=frames, progress=workload.burst
    ) as load:
        cpu_us = server.cpu_us()
        start_ns = time.monotonic_ns()
        waiting = workload.bursts
        for _ in range(OUTSTANDING):
            system.release(workload.burst)
            waiting -= 1
        for _ in load.progress():
            if waiting:
                system.release(workload.burst)
                waiting -= 1
        cpu_us = server.cpu_us() - cpu_us
        counted = load.result()
    seconds = (counted.last_ns - start_ns) / 1e9
    measured = Measured(counted.frames / seconds, cpu_us / counted.frames, counted.cpu_us / 1e6 / seconds)
    return measured, counted.payload_bytes // counted.frames


@contextmanager
def _pgcast(database: Database) -> Iterator[System]:
    def insert(first: int, count: int) -> None:
        database.insert(first, count, NOTE)

    with servers.pgcast(database.dsns["unix"], slot="pgcast_bench", publication=PUBLICATION) as server:
        yield System(server, insert)


@contextmanager
def _baseline(server: Server, message_bytes: int) -> Iterator[System]:
    before = '[null,null,"realtime:bench","postgres_changes",{"ids":[1],"data":{"type":"INSERT","record":{"id":'
    after = ',"note":"%s"},"errors":null}}]'
    padding = message_bytes - len(before) - len(str(FIRST_NUMBER)) - len(after % "")
    message = {"before": before, "after": after % ("x" * padding)}

    with connect(f"ws://127.0.0.1:{server.port}{server.path}", compression=None) as control:

        def order(first: int, count: int) -> None:
            control.send(json.dumps({"publish": count, "first": first} | message))

        yield System(server, order)
