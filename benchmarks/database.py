"""The Postgres of the benchmarks: an embedded cluster with two tables, a publication and somebody who writes.

It runs without fsync: what is measured begins where a change is in the WAL, and a disk that several share would only
add its moods. Autovacuum is off, and checkpoints are far apart, for the same reason.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from load import MeasurementFailed

from pgcast.devdb.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

PUBLICATION = "pgcast_bench"

_SETTINGS: dict[str, str | bool] = {"max_wal_size": "8GB", "checkpoint_timeout": "1h", "autovacuum": False}
_SCHEMA = """
    CREATE TABLE bench (id bigint PRIMARY KEY, note text NOT NULL);
    CREATE TABLE orders (
        id bigint PRIMARY KEY,
        customer text NOT NULL,
        amount numeric(10, 2) NOT NULL,
        paid boolean NOT NULL,
        placed_at timestamptz NOT NULL);
    CREATE PUBLICATION pgcast_bench FOR TABLE bench, orders;
    CREATE PROCEDURE write_orders(count bigint, per_transaction bigint) LANGUAGE plpgsql AS $$
    BEGIN
        FOR lowest IN 1 .. count BY per_transaction LOOP
            INSERT INTO orders
            SELECT n, 'customer ' || n % 1000, (n % 100000) / 100.0, n % 2 = 0, now()
            FROM generate_series(lowest, lowest + per_transaction - 1) n;
            COMMIT;
        END LOOP;
    END $$;
"""
_DEADLINE_S = 30.0
_POLL_S = 0.02


class Database:
    """The cluster, and one connection for what has to be asked and done."""

    def __init__(self, cluster: Cluster) -> None:
        self.dsns = {"unix": cluster.dsn(), "tcp": cluster.tcp_dsn()}
        self.connection: psycopg.Connection = cluster.connect()
        self.connection.execute(_SCHEMA)

    def insert(self, first: int, count: int, note: str) -> None:
        """Insert rows into `bench`, numbered from `first`, in one transaction."""
        self.connection.execute(
            "INSERT INTO bench SELECT n, %s FROM generate_series(%s::bigint, %s::bigint) n",
            [note, first, first + count - 1],
            prepare=True,
        )

    def write_orders(self, count: int, per_transaction: int) -> str:
        """Write rows numbered from 1 into the empty table `orders`; return the LSN behind the last commit."""
        self.connection.execute("CALL write_orders(%s, %s)", [count, per_transaction])
        return str(self._ask("SELECT pg_current_wal_lsn()::text"))

    def empty_orders(self) -> None:
        """Remove all rows of `orders`."""
        self.connection.execute("TRUNCATE orders")

    @contextmanager
    def slot(self, name: str) -> Iterator[None]:
        """Keep a slot of pgoutput's, from here on, for the length of the block."""
        self.connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
        try:
            yield
        finally:
            self.connection.execute("SELECT pg_drop_replication_slot(%s)", [name])

    def has_confirmed(self, slot: str, lsn: str) -> bool:
        """Tell whether the consumer of a slot has confirmed everything below an LSN."""
        query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
        return bool(self._ask(query, lsn, slot))

    def walsender(self, slot: str) -> int | None:
        """Return the process that sends a slot's WAL, None if nobody reads it."""
        pid: int | None = self._ask("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", slot)
        return pid

    @contextmanager
    def held(self, slot: str) -> Iterator[int]:
        """Wait until a slot's walsender has nothing to send, stop its process, and let it go on after the block.

        Yields:
            The process, which may be woken earlier with SIGCONT.

        Raises:
            MeasurementFailed: Nobody reads the slot, or it does not come to rest.
        """
        pid = self._wait_until_idle(slot)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _wait_until_idle(self, slot: str) -> int:
        ends = time.monotonic() + _DEADLINE_S
        while time.monotonic() < ends:
            pid = self.walsender(slot)
            is_idle = "SELECT sent_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE pid = %s"
            if pid is not None and self._ask(is_idle, pid):
                return pid
            time.sleep(_POLL_S)
        raise MeasurementFailed(f"the walsender of slot {slot} did not come to rest within {_DEADLINE_S:g} s")

    def _ask(self, query: str, *parameters: object) -> Any:
        row = self.connection.execute(query, parameters).fetchone()
        return row and row[0]


@contextmanager
def database() -> Iterator[Database]:
    """Run the cluster until the block ends."""
    with Cluster(durable=False, settings=_SETTINGS) as cluster:
        yield Database(cluster)
