"""`pgcast.listen_sync` on a real Postgres: the same as `listen`, for programs without an event loop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING

import pytest

import pgcast
from fix_node import clean_environment
from listened import SLOT

if TYPE_CHECKING:
    from pgcast.devdb.template import Database


def ids(changes: pgcast.SyncChanges, count: int) -> list[int]:
    return [(change.record or {})["id"] for change in islice(changes, count)]


def test_changes_come_in_order_and_those_not_acknowledged_come_again(published: Database):
    count = 2_000
    with pgcast.listen_sync(published.dsn, tables="todos", slot=SLOT) as changes:
        assert changes.slot_created
        for first in range(1, count, 500):
            published.execute(f"insert into todos select generate_series({first}, {first + 499})")
        assert ids(changes, 1_200) == list(range(1, 1_201))
    with pgcast.listen_sync(published.dsn, tables="todos", slot=SLOT) as changes:
        assert not changes.slot_created
        assert ids(changes, 1_000) == list(range(1_001, count + 1)), "the transaction that was not done, as a whole"


def test_by_hand_any_thread_may_acknowledge(published: Database):
    with pgcast.listen_sync(published.dsn, slot=SLOT, ack="manual", max_unacknowledged=2) as changes:
        published.execute("insert into todos values (1)")
        published.execute("insert into todos values (2)")
        published.execute("insert into todos values (3)")
        first, second = islice(changes, 2)
        later = threading.Timer(0.2, first.ack)
        later.start()
        assert ids(changes, 1) == [3], "came once the first was acknowledged"
        later.join()
        second.ack()
    with pgcast.listen_sync(published.dsn, slot=SLOT) as changes:
        assert ids(changes, 1) == [3]


def test_two_threads_cannot_read_at_once(published: Database):
    read: list[int] = []
    with pgcast.listen_sync(published.dsn) as changes:
        first = threading.Thread(target=lambda: read.extend(ids(changes, 1)))
        first.start()
        time.sleep(0.2)
        with pytest.raises(RuntimeError, match="two threads"):
            next(changes)
        published.execute("insert into todos values (1)")
        first.join(20)
        assert read == [1]
        published.execute("insert into todos values (2)")
        assert ids(changes, 1) == [2], "one after the other they may"


def test_iterating_ends_with_the_block(published: Database):
    with pgcast.listen_sync(published.dsn) as changes:
        pass
    assert list(changes) == []


def test_what_cannot_be_served_is_raised_where_the_block_begins(published: Database):
    with (
        pytest.raises(pgcast.BindingError, match=r"public\.nowhere"),
        pgcast.listen_sync(published.dsn, tables="nowhere"),
    ):
        pass
    with pytest.raises(pgcast.SettingsError, match="'manual'"), pgcast.listen_sync(published.dsn, ack="no"):  # type: ignore[arg-type]
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "pgcast"]


def test_a_stream_that_does_not_open_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pgcast.api.threaded._START_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        with pytest.raises(pgcast.DatabaseError, match=r"within 0\.2 s"), pgcast.listen_sync(dsn):
            pass
    assert not [thread for thread in threading.enumerate() if thread.name == "pgcast"]


PROGRAM = """
import signal, sys, pgcast

# What runs in the background of a shell is started with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with pgcast.listen_sync(sys.argv[1], slot="worker") as changes:
    print("ready", flush=True)
    try:
        for change in changes:
            print(change.record["id"], flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    for change in changes:
        print(change.record["id"], flush=True)
        break
print("ended", flush=True)
"""


def test_ctrl_c_interrupts_the_wait_and_loses_nothing(published: Database):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, published.dsn],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            published.execute("insert into todos values (1)")
            assert process.stdout.readline() == "1\n"
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            published.execute("insert into todos values (2)")
            assert process.stdout.readline() == "2\n"
            assert process.stdout.readline() == "ended\n"
            assert process.wait(15) == 0
        finally:
            process.kill()


def test_a_slow_program_holds_nothing_up_for_the_connection(published: Database):
    with pgcast.listen_sync(published.dsn) as changes:
        published.execute("insert into todos select generate_series(1, 20000)")
        assert ids(changes, 1) == [1]
        time.sleep(2.5)  # the thread goes on telling Postgres that it is there
        assert ids(changes, 19_999) == list(range(2, 20_001))
