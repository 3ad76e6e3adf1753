"""From the WAL to one client: pgcast beside `pg_recvlogical`, Postgres' own reader, on the same stretch of WAL.

Each round writes 300,000 rows of five columns, 100 to a transaction, and has them read twice, by one consumer after the
other:

- pgcast decodes them, matches them, and sends each as a JSON message to one WebSocket client, which counts them and
  checks their order; the time ends with the last of them.
- `pg_recvlogical` reads its slot with the same plugin and writes what it gets to /dev/null; it does nothing with it.
  The time ends when it ends, at the LSN behind the last commit.

Both slots stand at the same place before the first row, both consumers use the same kind of connection, and the order
of the two changes from round to round. Both times begin when the walsender, the process of Postgres that decodes the
WAL, may begin, with nothing decoded yet:

- A client gets what is committed after its join, so pgcast has to be connected, and its client joined, before the rows
  are written. To keep it from reading along, its *walsender* is stopped (SIGSTOP) while it has nothing to send, and
  woken (SIGCONT) when the time begins. Stopping pgcast itself would not do: the walsender would go on until the buffers
  between the two are full, several megabytes over TCP, and pgcast would start with a part of the work done.
- `pg_recvlogical` can only be told where to end when that is known, so it is started after the rows were written. Its
  time begins when it reports that streaming was initiated: connecting and making the decoder's context are not counted,
  and nothing was decoded before.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import servers
from database import PUBLICATION
from load import Load, MeasurementFailed, WrongCount
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from report import OURS, Measured, Results

from pgcast.devdb.binaries import find_binaries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from database import Database
    from servers import Server

ROWS = 300_000
ROWS_PER_TRANSACTION = 100
READER = "pg_recvlogical"
_SLOT = "pgcast_bench"
_READER_SLOT = "reader"
_JOIN = (
    '["1","1","realtime:bench","phx_join",'
    '{"config":{"postgres_changes":[{"event":"INSERT","schema":"public","table":"orders"}]}}]'
)
_READER_DEADLINE_S = 120.0


def capture(database: Database, rounds: int) -> Results:
    """Measure over a unix socket, then over TCP."""
    results = Results("capture", "rows")
    for kind, dsn in database.dsns.items():
        with servers.pgcast(dsn, slot=f"{_SLOT}_{kind}", publication=PUBLICATION) as server:
            for number in range(1, rounds + 1):
                _round(database, server, kind, number, results)
    return results


def _round(database: Database, server: Server, kind: str, number: int, results: Results) -> None:
    database.empty_orders()
    slot = f"{_SLOT}_{kind}"
    with (
        database.slot(_READER_SLOT),
        Load(port=server.port, path=server.path, join=_JOIN, clients=1, frames=ROWS) as load,
        database.held(slot) as walsender,
    ):
        end = database.write_orders(ROWS, ROWS_PER_TRANSACTION)
        runs: list[tuple[str, Callable[[], Measured]]] = [
            (OURS, lambda: _drain_by_pgcast(server, load, walsender)),
            (READER, lambda: _drain_by_reader(database, database.dsns[kind], end)),
        ]
        for system, drain in runs if number % 2 else reversed(runs):
            try:
                results.add(kind, system, number, drain())
            except WrongCount as mistake:
                results.add_mistake(kind, system, number, mistake)
        if database.walsender(slot) != walsender:
            raise MeasurementFailed("pgcast connected anew to Postgres while it was measured")


def _drain_by_pgcast(server: Server, load: Load, walsender: int) -> Measured:
    cpu_us = server.cpu_us()
    start_ns = time.monotonic_ns()
    os.kill(walsender, signal.SIGCONT)
    counted = load.result()
    seconds = (counted.last_ns - start_ns) / 1e9
    return Measured(ROWS / seconds, (server.cpu_us() - cpu_us) / ROWS, counted.cpu_us / 1e6 / seconds)


def _drain_by_reader(database: Database, dsn: str, end: str) -> Measured:
    binaries = find_binaries()
    # The password stays out of the command line, which everybody can read.
    words = conninfo_to_dict(dsn)
    environment = binaries.environment() | {"PGPASSWORD": str(words.pop("password", ""))}
    command: list[str | Path] = [
        binaries.program(READER),
        "--dbname",
        make_conninfo("", **words),
        "--slot",
        _READER_SLOT,
        "--start",
    ]
    command += ["--file", "/dev/null", "--no-loop", "--verbose", "--endpos", end]
    command += ["--option", "proto_version=1", "--option", f"publication_names={PUBLICATION}"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as reader:
        too_late = threading.Timer(_READER_DEADLINE_S, reader.kill)
        too_late.start()
        try:
            return _time_reader(database, reader, end)
        finally:
            too_late.cancel()
            reader.kill()


def _time_reader(database: Database, reader: subprocess.Popen[str], end: str) -> Measured:
    assert reader.stderr is not None
    said = []
    for line in reader.stderr:
        said.append(line)
        if "streaming initiated" in line:
            break
    start_ns = time.monotonic_ns()
    _, status, used = os.wait4(reader.pid, 0)
    end_ns = time.monotonic_ns()
    reader.returncode = os.waitstatus_to_exitcode(status)
    if reader.returncode != 0:
        raise MeasurementFailed(f"{READER} failed: {''.join(said)}{reader.stderr.read()}")
    if not database.has_confirmed(_READER_SLOT, end):
        raise WrongCount(f"{READER} ended before {end}")
    return Measured(ROWS / (end_ns - start_ns) * 1e9, (used.ru_utime + used.ru_stime) * 1e6 / ROWS)
