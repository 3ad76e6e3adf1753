"""What many clients cost: a storm of them that connects and joins, what each takes in memory, and presence.

`storm`: 10,000 clients connect and join, five hundred at a time under way; measured from the first connection to the
last reply. `memory`: what the server's resident memory grew by meanwhile, for each client. Beside pgcast two servers
that answer a handshake and one text. `presence`: 1,000 clients connect, join one topic and tell of themselves; each has
to be told of all, a million entries together. Nothing stands beside it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import servers
from database import PUBLICATION
from load import MeasurementFailed, WrongCount
from many import Crowd
from report import Figures, Measured, Results, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from database import Database
    from servers import Server

STORM = 10_000
MEMBERS = 1_000
_JOIN = '["1","1","realtime:room {n}","phx_join",{"config":{"presence":{"enabled":false}}}]'
_JOIN_ONE = '["1","1","realtime:crowd","phx_join",{"config":{"presence":{"key":"k{n}"}}}]'
_TRACK = '["1","2","realtime:crowd","presence",{"event":"track","payload":{"n":{n}}}]'


def storm(database: Database, rounds: int) -> Results:
    """Measure how many clients a second connect and join; each round with servers that have just been started."""
    results = Results("storm", "joins")
    for number in range(1, rounds + 1):
        for start in _systems(database, "pgcast_storm"):
            with ExitStack() as running:
                server = _started(running, start, "storm")
                if server is None:
                    continue
                cpu_us = server.cpu_us()
                with Crowd(server, STORM, (_JOIN,), (b'"phx_reply"', 1)) as crowd:
                    seconds = crowd.run()
                    used_us = server.cpu_us() - cpu_us
                results.add("connect and join", server.name, number, Measured(STORM / seconds, used_us / STORM))
    return results


def memory(database: Database, rounds: int) -> Figures:
    """Measure what a joined client takes."""
    figures = Figures("memory", "bytes a client")
    for _ in range(rounds):
        for start in _systems(database, "pgcast_memory"):
            with ExitStack() as running:
                server = _started(running, start, "memory")
                if server is None:
                    continue
                with Crowd(server, 500, (_JOIN,), (b'"phx_reply"', 1)) as crowd:
                    crowd.run()  # what is taken once, whoever comes
                    before = server.rss_bytes()
                    with Crowd(server, STORM // 2, (_JOIN,), (b'"phx_reply"', 1)) as more:
                        more.run()
                        figures.add("joined", server.name, (server.rss_bytes() - before) / (STORM // 2))
    return figures


def presence(database: Database, rounds: int) -> Results:
    """Measure how fast all members of a topic that fills at once know of each other."""
    results = Results("presence", "entries")
    told = MEMBERS * MEMBERS
    with servers.pgcast(database.dsns["unix"], slot="pgcast_presence", publication=PUBLICATION) as server:
        for number in range(1, rounds + 1):
            cpu_us = server.cpu_us()
            try:
                with Crowd(server, MEMBERS, (_JOIN_ONE, _TRACK), (b'"phx_ref":', MEMBERS)) as crowd:
                    seconds = crowd.run()
                    used_us = server.cpu_us() - cpu_us
            except WrongCount as mistake:
                results.add_mistake("all join", server.name, number, mistake)
            else:
                results.add("all join", server.name, number, Measured(told / seconds, used_us / told))
            servers.wait_until_quiet(server)
    return results


def _systems(database: Database, slot: str) -> list[Callable[[], AbstractContextManager[Server]]]:
    def pgcast() -> AbstractContextManager[Server]:
        return servers.pgcast(database.dsns["unix"], slot=slot, publication=PUBLICATION)

    return [pgcast, servers.ws, servers.websockets]


def _started(running: ExitStack, start: Callable[[], AbstractContextManager[Server]], scenario: str) -> Server | None:
    try:
        return running.enter_context(start())
    except MeasurementFailed as reason:
        say(f"{scenario}: left out: {reason}")
        return None
