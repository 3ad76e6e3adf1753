"""What bindings cost that do not want a change: per change, per join, and in memory; in this process, without sockets.

Run: `python benchmarks/filters.py`, or `make bench SCENARIO=filters`. For each kind of filter, 1, 100, 10,000 and
100,000 bindings, each of a channel of its own, wait for values that never come. One more binding, without a filter,
gets every change, as in any real server. Measured is `Hub.publish`: window, index, payload and frame. In each round the
numbers take turns; printed are the medians of the rounds' ratios to a single binding.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
import tracemalloc
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from pgcast.changes.oids import builtin_shape
from pgcast.changes.payload import Payloads
from pgcast.engine.groups import Group, Reading, Signature
from pgcast.engine.hub import Hub, HubLimits
from pgcast.frames.codec import serializer_for
from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry, Index
from pgcast.model.change import Change, Kind, Transaction
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Collation, Column, Relation, ReplicaIdentity, Table, TypeShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from database import Database

COUNTS = (1, 100, 10_000, 100_000)
CHANGES = 3_000

C = Collation('pg_catalog."C"', is_bytewise=True, is_deterministic=True, folds_ascii=True)
INT8 = builtin_shape(20) or TypeShape(20, "int8")
TEXT = TypeShape(25, "text", collation=C)
RELATION = Relation(
    1,
    "public",
    "orders",
    ReplicaIdentity.DEFAULT,
    (Column("id", 20, -1, is_key=True), Column("amount", 20, -1, is_key=False), Column("title", 25, -1, is_key=False)),
)
ORDERS = Table(RELATION, (INT8, INT8, TEXT), (0,))
SERIALIZER = serializer_for("2.0.0")


def _equal(number: int) -> tuple[Condition, ...]:
    return (Condition("amount", "eq", (str(1_000_000 + number),)),)


def _listed(number: int) -> tuple[Condition, ...]:
    return (Condition("amount", "in", (str(1_000_000 + 2 * number), str(1_000_001 + 2 * number))),)


def _above(number: int) -> tuple[Condition, ...]:
    return (Condition("amount", "gt", (str(1_000_000 + number),)),)


def _between(number: int) -> tuple[Condition, ...]:
    """Around the values that come, in whose place there is a hole."""
    low = 2 * number if number % 2 else -2 * number - 2
    return (Condition("amount", "gte", (str(low),)), Condition("amount", "lt", (str(low + 1),)))


def _meeting(number: int) -> tuple[Condition, ...]:
    """Up to the value that comes, which is left out."""
    return (Condition("amount", "gte", (str(8 - number),)), Condition("amount", "lt", ("9",)))


def _pair(number: int) -> tuple[Condition, ...]:
    """Of which one holds for the value that comes, and all share it."""
    return (Condition("title", "eq", ("milk",)), Condition("amount", "eq", (str(1_000_000 + number),)))


def _prefix(number: int) -> tuple[Condition, ...]:
    return (Condition("title", "like", (f"x{number}%",)),)


KINDS: dict[str, Callable[[int], tuple[Condition, ...]]] = {
    "equality": _equal,
    "in, two items": _listed,
    "range, one bound": _above,
    "range, two bounds": _between,
    "range, up to the value": _meeting,
    "two equalities": _pair,
    "like prefix": _prefix,
}


class NoOutlet:
    """An outlet that forgets."""

    is_paused = False
    members = 0
    writes = 0

    def write(self, content: bytes) -> None:
        del content

    def buffered_bytes(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        raise AssertionError((code, reason))


@dataclass
class Filled:
    """A hub with bindings that do not match, and a table's changes for it."""

    hub: Hub
    position: int = 0

    def publish(self, count: int) -> float:
        """Publish changes; return the processor time of one, in microseconds."""
        transaction = Transaction(1, Lsn(self.position + 1), 0, b"2026-01-02T03:04:05.678Z", b"5f0c2a9e-0-")
        changes = [change(transaction, index) for index in range(count)]
        self.position += 1
        begin = time.process_time()
        for one in changes:
            self.hub.publish(one, 100, 0.0)
        taken = time.process_time() - begin
        self.hub.window.commit(Lsn(self.position + 1))
        self.hub.flusher.flush_now()
        return taken / count * 1e6


def change(transaction: Transaction, index: int) -> Change:
    made = Change(ORDERS, Kind.INSERT, b'{"id":1,"amount":9,"title":"milk"}', None, (b"1", b"9", b"milk"), None)
    made.transaction, made.index = transaction, index
    return made


def entry(conditions: tuple[Condition, ...]) -> Entry:
    return Entry(1, ROW_KINDS, "public", "orders", conditions)


def join(hub: Hub, topic: str, conditions: tuple[Condition, ...]) -> None:
    signature = Signature("2.0.0", topic, (entry(conditions),), is_legacy=False)
    hub.join(NoOutlet(), signature, SERIALIZER, Reading(hub.window.end))


async def filled(kind: str, count: int) -> Filled:
    """A hub with so many bindings, all of them level."""
    made = Filled(Hub(Payloads(), HubLimits(window_bytes=1 << 20)))
    join(made.hub, "realtime:all", ())
    for number in range(count):
        join(made.hub, f"realtime:{number}", KINDS[kind](number))
    while len(made.hub.readers):  # noqa: ASYNC110 - the hub tells nobody when all are level
        await asyncio.sleep(0)
    made.publish(100)
    return made


@dataclass
class Costs:
    """What was measured, and printing it.

    Attributes:
        rounds: Of each kind of filter, for each round and number of bindings, microseconds per change.
        storms: Of each kind, seconds to join and to leave with all bindings, and bytes of a binding in the index.
    """

    rounds: dict[str, list[dict[int, float]]] = field(default_factory=dict)
    storms: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def print(self) -> None:
        """Print the table, then the ratios."""
        print(f"\n{'microseconds per change':26}" + "".join(f"{count:>12,}" for count in COUNTS))
        for kind, rounds in self.rounds.items():
            print(f"{kind:26}" + "".join(f"{median(one[count] for one in rounds):>12.2f}" for count in COUNTS))
        print()
        for kind, rounds in self.rounds.items():
            ratios = [median(one[count] / one[1] for one in rounds) for count in COUNTS[1:]]
            shown = ", ".join(f"{count:,}: {ratio:.2f}" for count, ratio in zip(COUNTS[1:], ratios, strict=True))
            print(f"filters {kind:24} many / 1 = {shown} (medians of {len(rounds)})")
        print(f"\n{COUNTS[-1]:,} bindings            join s     leave s   index bytes each")
        for kind, (joined_s, left_s, size) in self.storms.items():
            print(f"{kind:26}{joined_s:>10.2f}{left_s:>12.2f}{size:>19.0f}")


def storm(kind: str) -> tuple[float, float, float]:
    """Add all bindings to an index in which changes are looked up all the while, and take them out again."""
    count = COUNTS[-1]
    entries = [(entry(KINDS[kind](number)),) for number in range(count)]
    targets = [object() for _ in range(count)]
    transaction = Transaction(1, Lsn(1), 0, b"", b"")
    gc.collect()
    tracemalloc.start()
    sized: Index[object] = Index()
    for target, one in zip(targets[:10_000], entries, strict=False):
        sized.add(target, one)
    sized.match(change(transaction, 0))
    size = tracemalloc.get_traced_memory()[0] / 10_000
    tracemalloc.stop()
    index: Index[object] = Index()
    times: list[float] = []
    for act in (index.add, index.remove):
        begin = time.process_time()
        for number, (target, one) in enumerate(zip(targets, entries, strict=True)):
            act(target, one)
            if number % 100 == 0:
                assert not index.match(change(transaction, 0))
        times.append(time.process_time() - begin)
    assert not index
    return times[0], times[1], size


async def measure(rounds: int) -> Costs:
    costs = Costs()
    for kind in KINDS:
        hubs = {count: await filled(kind, count) for count in COUNTS}
        gc.collect()
        gc.freeze()
        costs.rounds[kind] = [{count: hub.publish(CHANGES) for count, hub in hubs.items()} for _ in range(rounds)]
        groups: list[Group] = list(hubs[1].hub._groups.values())  # noqa: SLF001 - only counted
        assert len(groups) == 2
        del hubs
        gc.unfreeze()
        costs.storms[kind] = storm(kind)
    return costs


def filters(_: Database, rounds: int) -> Costs:
    """Measure as a scenario of `run.py`; the database is not used."""
    return asyncio.run(measure(rounds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(measure(parser.parse_args().rounds)).print()
