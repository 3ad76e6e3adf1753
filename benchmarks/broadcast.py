"""One client's messages to a thousand others: pgcast beside two WebSocket servers that relay them.

Every system gets the same work: 1,000 clients join a topic; one more sends messages there, in a closed loop with at
most four bursts that not every client has received yet. A burst is one message (`single`) or a hundred (`by 100`), each
in a frame of its own, as the protocol's `broadcast` push; every server takes it apart, makes one message of it for all,
and leaves its sender out. What the two others do beside that is only to write it: they know one topic, no rights and
no slow readers.

Measured are deliveries per second, from the first push to the last arrival, and the server's processor time per
delivery.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import servers
from database import PUBLICATION
from fanout import CLIENTS, FIRST_NUMBER, OUTSTANDING, WARM_UP, Workload
from load import Load, MeasurementFailed, WrongCount
from report import Measured, Results, say
from websockets.sync.client import connect

if TYPE_CHECKING:
    from database import Database
    from servers import Server
    from websockets.sync.client import ClientConnection

_JOIN = '["1","1","realtime:bench","phx_join",{"config":{"presence":{"enabled":false}}}]'
_NOTE = "x" * 200
_REPLY_S = 10.0
_DEADLINE_S = 120.0
_WORKLOADS = (Workload("single", bursts=500, burst=1), Workload("by 100", bursts=50, burst=100))


def broadcast(database: Database, rounds: int) -> Results:
    """Measure all systems in turns; a baseline that does not run here is left out, with a word why."""
    results = Results("broadcast", "deliveries")
    with ExitStack() as running:
        systems = [
            running.enter_context(
                servers.pgcast(database.dsns["unix"], slot="pgcast_broadcast", publication=PUBLICATION)
            )
        ]
        for baseline in (servers.ws, servers.websockets):
            try:
                systems.append(running.enter_context(baseline()))
            except MeasurementFailed as reason:
                say(f"broadcast: left out: {reason}")
        for server in systems:
            _measure(server, WARM_UP)
        for number in range(1, rounds + 1):
            for workload in _WORKLOADS:
                for server in systems:
                    try:
                        results.add(workload.name, server.name, number, _measure(server, workload))
                    except WrongCount as mistake:
                        results.add_mistake(workload.name, server.name, number, mistake)
    return results


def _measure(server: Server, workload: Workload) -> Measured:
    frames = workload.bursts * workload.burst
    with (
        Load(
            port=server.port,
            path=server.path,
            join=_JOIN,
            joined='"phx_reply"',
            marker='"broadcast",{',
            sequence='"id":',
            clients=CLIENTS,
            frames=frames,
            progress=workload.burst,
            deadline_s=_DEADLINE_S,
        ) as load,
        connect(f"ws://127.0.0.1:{server.port}{server.path}", compression=None) as sender,
    ):
        sender.send(_JOIN)
        sender.recv(_REPLY_S)
        numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + frames))
        cpu_us = server.cpu_us()
        start_ns = time.monotonic_ns()
        waiting = workload.bursts
        for _ in range(OUTSTANDING):
            _send(sender, [next(numbers) for _ in range(workload.burst)])
            waiting -= 1
        for _ in load.progress():
            if waiting:
                _send(sender, [next(numbers) for _ in range(workload.burst)])
                waiting -= 1
        cpu_us = server.cpu_us() - cpu_us
        counted = load.result()
    seconds = (counted.last_ns - start_ns) / 1e9
    return Measured(counted.frames / seconds, cpu_us / counted.frames, counted.cpu_us / 1e6 / seconds)


def _send(sender: ClientConnection, numbers: list[int]) -> None:
    for number in numbers:
        payload = {"type": "broadcast", "event": "note", "payload": {"id": number, "note": _NOTE}}
        sender.send(json.dumps(["1", None, "realtime:bench", "broadcast", payload], separators=(",", ":")))
