"""What was measured, gathered by workload and system, and printed as a table and as ratios.

Absolute figures say as much about the machine as about the software. What is worth comparing is the ratio of two
systems in the same round, taken in turns; of the rounds' ratios the median is printed, and the extremes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median

OURS = "pgcast"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one system.

    Attributes:
        per_s: Messages (rows, deliveries) per second.
        cpu_us: Processor time of the measured process per message, in microseconds.
        load_busy: The part of a core that the load generator took: near 1 it is what was measured. None without one.
    """

    per_s: float
    cpu_us: float
    load_busy: float | None = None


class Results:
    """The runs of a scenario.

    Args:
        scenario: Its name, the first word of its lines.
        unit: What is counted, in the plural.
    """

    def __init__(self, scenario: str, unit: str) -> None:
        self.scenario = scenario
        self.unit = unit
        self.mistakes: list[str] = []
        self._runs: dict[str, dict[str, dict[int, Measured]]] = {}

    def add(self, workload: str, system: str, number: int, run: Measured) -> None:
        """Keep a run of a round."""
        self._runs.setdefault(workload, {}).setdefault(system, {})[number] = run
        say(f"{self.scenario} {workload}, round {number}: {system} {run.per_s:,.0f} {self.unit}/s")

    def add_mistake(self, workload: str, system: str, number: int, mistake: Exception) -> None:
        """Keep what went wrong in a run, in place of its figures."""
        self.mistakes.append(f"{self.scenario} {workload}, round {number}: {system}: {mistake}")
        say(self.mistakes[-1])

    def print(self) -> None:
        """Print the table, then the ratios."""
        print(f"\n{'':26}{'':16}{self.unit + '/s':>16}{'CPU us each':>14}{'load busy':>12}{'runs':>6}")
        for workload, systems in self._runs.items():
            for system, runs in systems.items():
                per_s = median(run.per_s for run in runs.values())
                cpu_us = median(run.cpu_us for run in runs.values())
                busy = [run.load_busy for run in runs.values() if run.load_busy is not None]
                share = f"{median(busy):.0%}" if busy else "-"
                name = f"{self.scenario} {workload}"
                print(f"{name:26}{system:16}{per_s:>16,.0f}{cpu_us:>14.2f}{share:>12}{len(runs):>6}")
        print()
        for workload, systems in self._runs.items():
            for other in systems:
                if other != OURS and OURS in systems:
                    self._print_ratios(workload, other, systems[OURS], systems[other])

    def _print_ratios(self, workload: str, other: str, ours: dict[int, Measured], theirs: dict[int, Measured]) -> None:
        rounds = sorted(ours.keys() & theirs.keys())
        if not rounds:
            return
        name = f"{self.scenario} {workload}"
        speed = [ours[number].per_s / theirs[number].per_s for number in rounds]
        print(f"{name:26}{OURS} / {other} = {_summary(speed)}")
        if all(theirs[number].cpu_us for number in rounds):
            cost = [ours[number].cpu_us / theirs[number].cpu_us for number in rounds]
            print(f"{name:26}{OURS} / {other} = {_summary(cost)} in CPU time")


class Latencies:
    """How long something took beside a load, and without it, in the same round.

    Args:
        scenario: Its name, the first word of its lines.
        quiet: What the time without load is called.
        goal_ms: What the longest should stay under.
    """

    def __init__(self, scenario: str, quiet: str, goal_ms: float) -> None:
        self.scenario = scenario
        self.mistakes: list[str] = []
        self._quiet = quiet
        self._goal_ms = goal_ms
        self._rounds: dict[str, list[tuple[list[float], list[float]]]] = {}

    def add(self, workload: str, number: int, quiet_ms: list[float], loaded_ms: list[float]) -> None:
        """Keep the times of a round."""
        self._rounds.setdefault(workload, []).append((quiet_ms, loaded_ms))
        say(f"{self.scenario} {workload}, round {number}: at most {max(loaded_ms):.1f} ms of {len(loaded_ms)}")

    def add_mistake(self, workload: str, number: int, mistake: Exception) -> None:
        """Keep what went wrong in a round, in place of its times."""
        self.mistakes.append(f"{self.scenario} {workload}, round {number}: {mistake}")
        say(self.mistakes[-1])

    def print(self) -> None:
        """Print the table, all rounds together, then the ratios of one round each."""
        print(f"\n{'milliseconds':34}{'p50':>10}{'p99':>10}{'max':>10}{'count':>8}")
        for workload, rounds in self._rounds.items():
            for what, which in ((self._quiet, 0), (workload, 1)):
                times = [ms for one in rounds for ms in one[which]]
                p50, p99, longest = (_quantile(times, part) for part in (0.5, 0.99, 1))
                print(f"{f'{self.scenario} {what}':34}{p50:>10.2f}{p99:>10.2f}{longest:>10.2f}{len(times):>8}")
        print()
        for workload, rounds in self._rounds.items():
            name = f"{self.scenario} {workload}"
            for title, part in (("p50", 0.5), ("p99", 0.99)):
                ratios = [_quantile(loaded, part) / _quantile(quiet, part) for quiet, loaded in rounds]
                print(f"{name:34}{title} beside it / {self._quiet} = {_summary(ratios)}")
            longest = max(ms for _, loaded in rounds for ms in loaded)
            verdict = "within" if longest <= self._goal_ms else "beyond"
            print(f"{name:34}max {longest:.1f} ms, {verdict} the goal of {self._goal_ms:g} ms")


class Figures:
    """One figure of each system, measured several times.

    Args:
        scenario: Its name, the first word of its lines.
        unit: What the figure is.
    """

    def __init__(self, scenario: str, unit: str) -> None:
        self.scenario = scenario
        self.mistakes: list[str] = []
        self._unit = unit
        self._runs: dict[str, dict[str, list[float]]] = {}

    def add(self, workload: str, system: str, figure: float) -> None:
        """Keep the figure of a round."""
        self._runs.setdefault(workload, {}).setdefault(system, []).append(figure)
        say(f"{self.scenario} {workload}: {system} {figure:,.0f} {self._unit}")

    def print(self) -> None:
        """Print the medians, then the ratios."""
        print(f"\n{'':26}{'':16}{self._unit:>16}{'runs':>6}")
        for workload, systems in self._runs.items():
            for system, runs in systems.items():
                print(f"{f'{self.scenario} {workload}':26}{system:16}{median(runs):>16,.0f}{len(runs):>6}")
        print()
        for workload, systems in self._runs.items():
            for other, runs in systems.items():
                if other != OURS and OURS in systems:
                    ratios = [ours / theirs for ours, theirs in zip(systems[OURS], runs, strict=False)]
                    print(f"{f'{self.scenario} {workload}':26}{OURS} / {other} = {_summary(ratios)}")


def _quantile(times: list[float], part: float) -> float:
    ordered = sorted(times)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def say(text: str) -> None:
    """Tell on standard error how far we are."""
    print(text, file=sys.stderr, flush=True)


def _summary(ratios: list[float]) -> str:
    return f"{median(ratios):.2f} (median of {len(ratios)}, {min(ratios):.2f} to {max(ratios):.2f})"
