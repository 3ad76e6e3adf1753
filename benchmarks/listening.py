"""`async for` over the changes of `pgcast.listen`, beside the same loop written by hand on psycopg.

Each round writes 300,000 rows of five columns, 100 to a transaction, behind two slots that stand at the same place, and
has a program read each of them to the end:

- `pgcast`: `async for change in changes`, and the row as a dict from `change.record`.
- `by hand`: what somebody writes who needs the changes and has psycopg: a blocking loop around libpq's
  `get_copy_data`, and pgoutput taken apart with `struct` into a dict of Python values. It matches nothing, acknowledges
  nothing before the end, keeps no position, and is lost when anything unexpected comes; so it is the quickest that
  Python can do without doing less per row.

Both programs are processes of their own, connect over a unix socket, and check that every row came, in order. The time
begins before they connect, and ends with the last row. The order of the two changes from round to round.

    python benchmarks/listening.py pgcast|hand DSN SLOT ROWS    runs one of them alone
"""

from __future__ import annotations

import json
import os
import resource
import select
import struct
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import uvloop
from database import PUBLICATION
from load import MeasurementFailed, WrongCount
from psycopg import generators, pq
from report import OURS, Measured, Results

import pgcast

if TYPE_CHECKING:
    from collections.abc import Callable

    from database import Database

ROWS = int(os.environ.get("PGCAST_BENCH_ROWS", "300000"))
ROWS_PER_TRANSACTION = 100
BY_HAND = "by hand"
_SLOTS = {OURS: "bench_listen", BY_HAND: "bench_by_hand"}
_DEADLINE_S = 120.0


def listening(database: Database, rounds: int) -> Results:
    """Measure both, in turns."""
    results = Results("api", "rows")
    dsn = database.dsns["unix"]
    for number in range(1, rounds + 1):
        database.empty_orders()
        with database.slot(_SLOTS[OURS]), database.slot(_SLOTS[BY_HAND]):
            database.write_orders(ROWS, ROWS_PER_TRANSACTION)
            for system in (OURS, BY_HAND) if number % 2 else (BY_HAND, OURS):
                try:
                    results.add("async for", system, number, _measure(system, dsn))
                except WrongCount as mistake:
                    results.add_mistake("async for", system, number, mistake)
    return results


def _measure(system: str, dsn: str) -> Measured:
    which = "pgcast" if system == OURS else "hand"
    command = [sys.executable, str(Path(__file__)), which, dsn, _SLOTS[system], str(ROWS)]
    try:
        ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=_DEADLINE_S)
    except subprocess.TimeoutExpired:
        raise WrongCount(f"{system} did not get {ROWS} rows within {_DEADLINE_S:g} s") from None
    if ran.returncode:
        raise MeasurementFailed(f"{system} failed: {ran.stderr[-2000:]}")
    said = json.loads(ran.stdout)
    if said["mistakes"]:
        raise WrongCount(f"{system} got {said['mistakes']} rows out of order")
    return Measured(ROWS / said["seconds"], said["cpu_s"] * 1e6 / ROWS)


async def _by_pgcast(dsn: str, slot: str, count: int) -> int:
    expected = mistakes = 0
    async with pgcast.listen(dsn, tables="orders", slot=slot, publications=[PUBLICATION]) as changes:
        async for change in changes:
            row = change.record
            assert row is not None
            expected += 1
            mistakes += row["id"] != expected
            if expected == count:
                break
    return mistakes


def _by_pgcast_to_its_end(dsn: str, slot: str, count: int) -> int:
    return uvloop.run(_by_pgcast(dsn, slot, count))


def _by_hand(dsn: str, slot: str, count: int) -> int:
    expected = mistakes = 0
    with closing(psycopg.connect(dsn, replication="database", autocommit=True)) as connection:
        pgconn = connection.pgconn
        options = f"(proto_version '1', publication_names '{PUBLICATION}')"
        pgconn.send_query(f"START_REPLICATION SLOT {slot} LOGICAL 0/0 {options}".encode())
        (result,) = connection.wait(generators.execute(pgconn))
        assert result.status == pq.ExecStatus.COPY_BOTH
        relations: dict[int, list[tuple[str, Callable[[bytes], Any]]]] = {}
        while expected < count:
            size, data = pgconn.get_copy_data(1)
            if size == 0:
                select.select([pgconn.socket], [], [], _DEADLINE_S)
                pgconn.consume_input()
                continue
            message = bytes(data)
            if message[:1] != b"w":
                continue
            kind = message[25:26]
            if kind == b"I":
                row = _row(message, relations[int.from_bytes(message[26:30])], 31)
                expected += 1
                mistakes += row["id"] != expected
            elif kind == b"R":
                relations[int.from_bytes(message[26:30])] = _columns(message)
    return mistakes


# kind: 1 | OID: 4 | N: 1 | columns: 2 | for each: t, size: 4, text; or n; or u
def _row(message: bytes, columns: list[tuple[str, Callable[[bytes], Any]]], at: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    at += 2
    for name, convert in columns:
        kind = message[at]
        if kind == 116:
            (length,) = _SIZE(message, at + 1)
            at += 5 + length
            row[name] = convert(message[at - length : at])
        else:
            at += 1
            if kind == 110:
                row[name] = None
    return row


_SIZE = struct.Struct(">I").unpack_from

_CONVERTERS: dict[int, Callable[[bytes], Any]] = {20: int, 16: b"t".__eq__, 1700: float}


# kind: 1 | OID: 4 | schema\0 | table\0 | identity: 1 | columns: 2 | for each: key: 1, name\0, type: 4, modifier: 4
def _columns(message: bytes) -> list[tuple[str, Callable[[bytes], Any]]]:
    at = message.index(b"\0", message.index(b"\0", 30) + 1) + 2
    (count,) = struct.unpack_from(">H", message, at)
    at += 2
    columns = []
    for _ in range(count):
        end = message.index(b"\0", at + 1)
        (oid,) = struct.unpack_from(">I", message, end + 1)
        columns.append((message[at + 1 : end].decode(), _CONVERTERS.get(oid, bytes.decode)))
        at = end + 9
    return columns


def _main(which: str, dsn: str, slot: str, rows: str) -> None:
    assert callable(pgcast.listen)  # imported with its name, and before the time begins
    start, cpu_s = time.perf_counter(), _cpu_s()
    run = _by_hand if which == "hand" else _by_pgcast_to_its_end
    mistakes = run(dsn, slot, int(rows))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "cpu_s": _cpu_s() - cpu_s, "mistakes": mistakes}))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    _main(*sys.argv[1:])
