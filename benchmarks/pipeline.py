"""What a change costs between the socket of Postgres and that of a client, with neither of them there.

100,000 inserts of five columns, 100 to a transaction, made in memory, go through decoder, window, index, payload,
frame and tick to one client that counts bytes. Printed: microseconds of CPU per change, with the garbage collector as
the server sets it, as Python sets it, and, with `--profile`, where the time goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
import struct
import time
from typing import TYPE_CHECKING

import structlog
import uvloop

from pgcast.changes.oids import builtin_shape
from pgcast.changes.payload import Payloads
from pgcast.engine.backoff import Backoff
from pgcast.engine.groups import Reading, Signature
from pgcast.engine.hub import Hub, HubLimits
from pgcast.engine.pipeline import Pipeline
from pgcast.engine.ports import Database, StreamStart
from pgcast.frames.codec import serializer_for
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Table, TypeShape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.model.relation import Relation

ROWS = 100_000
ROWS_PER_TRANSACTION = 100
ENVELOPES_PER_READ = 3_000
COLUMNS = ((b"id", 20, 1), (b"customer", 25, 0), (b"amount", 1700, 0), (b"is_paid", 16, 0), (b"placed_at", 1184, 0))
ROUNDS = 5


def envelope(message: bytes, lsn: int) -> bytes:
    return b"w" + struct.pack(">QQQ", lsn, lsn, 0) + message


def relation() -> bytes:
    columns = b"".join(bytes([key]) + name + b"\0" + struct.pack(">Ii", oid, -1) for name, oid, key in COLUMNS)
    return b"R" + struct.pack(">I", 1) + b"public\0orders\0d" + struct.pack(">H", len(COLUMNS)) + columns


def row(number: int) -> bytes:
    values = (
        b"%d" % number,
        b"customer number %d" % (number % 1000),
        b"%d.50" % (number % 997),
        b"t",
        b"2026-11-24 08:11:41.123456+00",
    )
    texts = b"".join(b"t" + struct.pack(">I", len(value)) + value for value in values)
    return b"I" + struct.pack(">I", 1) + b"N" + struct.pack(">H", len(values)) + texts


def stream() -> list[bytes]:
    made: list[bytes] = []
    lsn = 1000
    for first in range(0, ROWS, ROWS_PER_TRANSACTION):
        made.append(envelope(b"B" + struct.pack(">QqI", lsn + 500, 850_000_000_000_000 + first, first + 10), lsn))
        if first == 0:
            made.append(envelope(relation(), 0))
        made.extend(envelope(row(number), lsn) for number in range(first, first + ROWS_PER_TRANSACTION))
        lsn += 500
        made.append(envelope(b"C\0" + struct.pack(">QQq", lsn, lsn + 10, 850_000_000_000_000 + first), lsn + 10))
        lsn += 100
    return made


class Source:
    def __init__(self, envelopes: list[bytes]) -> None:
        self._envelopes = envelopes
        self._at = 0

    async def open(self, after: Lsn, *, taken: Lsn) -> StreamStart:
        del after, taken
        return StreamStart("1", "1", 180_000, "bench", slot_created=False, confirmed_lsn=Lsn(1))

    async def read(self) -> Sequence[bytes]:
        if self._at >= len(self._envelopes):
            await asyncio.get_running_loop().create_future()
        batch = self._envelopes[self._at : self._at + ENVELOPES_PER_READ]
        self._at += ENVELOPES_PER_READ
        return batch

    def send_status(self, received: Lsn, flushed: Lsn, *, reply_requested: bool = False) -> None:
        """Nobody listens."""

    async def finish(self, received: Lsn, flushed: Lsn) -> None:
        """Nobody listens."""

    async def drop_slot(self) -> None:
        """There is none."""

    async def close(self) -> None:
        """Nothing is open."""


class Catalog:
    async def describe(self, announced: Relation) -> Table:
        shapes = [builtin_shape(column.type_oid) or TypeShape(0, "unknown") for column in announced.columns]
        return Table(announced, tuple(shapes), (0,))


class Outlet:
    is_paused = False
    members = 0
    writes = 0
    taken_bytes = 0

    def write(self, content: bytes) -> None:
        self.taken_bytes += len(content)

    def buffered_bytes(self) -> int:
        return 0

    def close(self, code: int, reason: str) -> None:
        raise AssertionError((code, reason))


async def run(envelopes: list[bytes], profile: cProfile.Profile | None) -> float:
    hub = Hub(Payloads(), HubLimits())
    database = Database(Source(envelopes), Catalog(), None, [], None)  # type: ignore[arg-type]
    pipeline = Pipeline(database, hub, Backoff(1, 1), lambda: None)
    outlet = Outlet()
    signature = Signature("2.0.0", "realtime:bench", (Entry(1, ROW_KINDS),), is_legacy=False)
    hub.join(outlet, signature, serializer_for("2.0.0"), Reading(0))
    await asyncio.sleep(0.01)
    await pipeline.open()
    began = time.process_time()
    if profile is not None:
        profile.enable()
    following = asyncio.create_task(pipeline.run())
    while hub.window.end < ROWS:  # noqa: ASYNC110 - as cheap as it gets
        await asyncio.sleep(0.001)
    if profile is not None:
        profile.disable()
    used_us = (time.process_time() - began) / ROWS * 1e6
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert outlet.taken_bytes > ROWS * 300
    return used_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    wants_profile = parser.parse_args().profile
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    envelopes = stream()
    pythons = gc.get_threshold()
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, threshold in (("as the server sets it", (50_000, 50, 1_000)), ("as Python sets it", pythons)):
            gc.collect()
            gc.set_threshold(*threshold)
            used_us = uvloop.run(run(envelopes, None))
            best[name] = min(used_us, best.get(name, used_us))
    for name, used_us in best.items():
        print(f"{used_us:6.2f} us per change, garbage collector {name} (best of {ROUNDS})")
    ours, theirs = best.values()
    print(f"{theirs / ours:6.2f} = as Python sets it / as the server sets it")
    if wants_profile:
        profile = cProfile.Profile()
        gc.disable()
        uvloop.run(run(envelopes, profile))
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)


if __name__ == "__main__":
    main()
