"""Run the benchmarks: `python benchmarks/run.py [SCENARIO|all] [--rounds N]`, or `make bench`.

The exit code is 0 whatever the ratios are, 1 when a client did not get exactly what was sent, 2 when something that is
to be measured does not run.
"""

from __future__ import annotations

import argparse
import resource
import sys
from typing import TYPE_CHECKING

from broadcast import broadcast
from capture import capture
from crowds import memory, presence, storm
from database import database
from fanout import fanout
from filters import filters
from heartbeat import heartbeat
from listening import listening
from load import MeasurementFailed
from report import say
from webhooks import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from database import Database
    from filters import Costs
    from report import Figures, Latencies, Results

_SCENARIOS: dict[str, Callable[[Database, int], Results | Latencies | Costs | Figures]] = {
    "capture": capture,
    "fanout": fanout,
    "heartbeat": heartbeat,
    "filters": filters,
    "webhooks": webhooks,
    "api": listening,
    "broadcast": broadcast,
    "presence": presence,
    "memory": memory,
    "storm": storm,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure pgcast beside others, as ratios.")
    parser.add_argument("scenario", nargs="?", choices=[*_SCENARIOS, "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5, help="how many runs of each system (default 5)")
    arguments = parser.parse_args()
    _raise_file_limit()
    names = list(_SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    try:
        with database() as running:
            measured = [_SCENARIOS[name](running, arguments.rounds) for name in names]
    except MeasurementFailed as reason:
        say(f"not measured: {reason}")
        return 2
    for results in measured:
        results.print()
    mistakes = [mistake for results in measured for mistake in results.mistakes]
    for mistake in mistakes:
        print(f"WRONG COUNT  {mistake}")
    return 1 if mistakes else 0


def _raise_file_limit() -> None:
    """Allow ourselves and the servers, which inherit it, as many sockets as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
