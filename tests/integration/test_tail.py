"""`pgcast tail` as people start it: a process of its own on a real Postgres."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fix_node import Node, clean_environment
from pgcast.devdb.template import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_S = 30.0


def slots(database: Database) -> int:
    """How many replication slots there are."""
    with database.connect() as connection:
        query = "select count(*) from pg_replication_slots where database = current_database()"
        ((count,),) = connection.execute(query).fetchall()
        return int(count)


class Tail:
    """A running `pgcast tail`."""

    def __init__(self, dsn: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgcast", "tail", *options],
            env={**clean_environment(), "DATABASE_URL": dsn},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.output, self.errors = self.process.stdout, self.process.stderr

    def wait_until_following(self) -> str:
        line = self.errors.readline()
        assert "following" in line, line + self.errors.read()
        return line

    def lines(self, count: int) -> list[str]:
        return [self.output.readline().rstrip("\n") for _ in range(count)]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)


@pytest.fixture
def tails() -> Iterator[list[Tail]]:
    started: list[Tail] = []
    yield started
    for tail in started:
        if tail.process.poll() is None:
            tail.process.terminate()
            tail.process.wait(STOP_S)
        tail.output.close()
        tail.errors.close()


def start(tails: list[Tail], database: Database, *options: str) -> Tail:
    tail = Tail(database.dsn, *options)
    tails.append(tail)
    return tail


def test_every_change_is_one_line(tails: list[Tail], published: Database):
    published.execute("alter table todos replica identity full")
    tail = start(tails, published)
    told = tail.wait_until_following()
    assert published.name in told
    assert "temporary slot pgcast_tail_" in told
    published.execute("insert into todos values (1, 'milk')")
    published.execute("update todos set done = true")
    published.execute("delete from todos")
    lines = [line.partition("Z  ")[2] for line in tail.lines(3)]
    assert lines == [
        'INSERT  public.todos  id=1 title="milk" done=false',
        "UPDATE  public.todos  id=1 done: false -> true",
        'DELETE  public.todos  id=1 title="milk" done=true',
    ]
    assert tail.interrupt() == 0
    assert tail.errors.read() == ""


def test_json_is_the_data_of_the_message(tails: list[Tail], published: Database):
    tail = start(tails, published, "--json")
    tail.wait_until_following()
    published.execute("insert into todos values (1, E'two\\nlines')")
    (line,) = tail.lines(1)
    change = json.loads(line)
    assert change["record"] == {"id": 1, "title": "two\nlines", "done": False}
    assert {"schema", "table", "type", "commit_timestamp", "columns", "position"} < change.keys()


def test_only_what_was_asked_for_is_printed(tails: list[Tail], published: Database):
    published.execute("create table other (id int primary key)")
    tail = start(tails, published, "--table", "public.todos", "--event", "insert", "--event", "DELETE", "--json")
    tail.wait_until_following()
    published.execute("insert into other values (1)")
    published.execute("insert into todos values (1, 'milk')")
    published.execute("update todos set done = true")
    published.execute("delete from todos")
    assert [(json.loads(line)["table"], json.loads(line)["type"]) for line in tail.lines(2)] == [
        ("todos", "INSERT"),
        ("todos", "DELETE"),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_its_slot_ends_with_it_and_a_servers_slot_is_left_alone(
    tails: list[Tail], published: Database, node: Node, number: int
):
    before = slots(published)
    tail = start(tails, published)
    tail.wait_until_following()
    assert slots(published) == before + 1
    tail.process.send_signal(number)
    assert tail.process.wait(STOP_S) == 0
    ends = time.monotonic() + 10
    while slots(published) != before and time.monotonic() < ends:
        time.sleep(0.05)
    assert slots(published) == before


def test_a_reader_that_goes_ends_it_without_a_word(tails: list[Tail], published: Database):
    tail = start(tails, published)
    tail.wait_until_following()
    published.execute("insert into todos values (1, 'milk')")
    tail.lines(1)
    tail.output.close()
    published.execute("insert into todos values (2, 'tea')")
    assert tail.process.wait(STOP_S) == 0
    assert tail.errors.read() == ""


def test_a_reader_that_pauses_loses_nothing_of_a_large_transaction(tails: list[Tail], published: Database):
    tail = start(tails, published, "--json")
    tail.wait_until_following()
    published.execute("insert into todos select n, repeat('x', 100) from generate_series(1, 50000) n")
    time.sleep(2)
    assert [json.loads(line)["record"]["id"] for line in tail.lines(50_000)] == list(range(1, 50_001))


def test_while_nobody_reads_it_can_still_be_ended(tails: list[Tail], published: Database):
    tail = start(tails, published)
    tail.wait_until_following()
    published.execute("insert into todos select n, repeat('x', 100) from generate_series(1, 5000) n")
    time.sleep(1)
    assert tail.interrupt() == 0


def test_a_database_that_comes_back_is_followed_again_and_the_gap_is_told(tails: list[Tail], published: Database):
    tail = start(tails, published)
    tail.wait_until_following()
    published.execute(
        "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()"
    )
    said = [tail.errors.readline() for _ in range(3)]
    assert any("changes were missed" in line for line in said), said
    published.execute("insert into todos values (1, 'back')")
    assert tail.lines(1)[0].endswith('title="back" done=false')


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--table", "nothing"], 1, "Unable to subscribe"),
        (["--table", "a.b.c"], 2, "expected schema.table"),
        (["--event", "truncate"], 2, "truncate"),
    ],
)
def test_what_cannot_be_served_is_said(
    tails: list[Tail], published: Database, options: list[str], code: int, message: str
):
    tail = start(tails, published, *options)
    assert tail.process.wait(STOP_S) == code
    errors = tail.errors.read()
    assert message in errors
    assert "Traceback" not in errors


def test_a_database_without_the_publication_is_said(tails: list[Tail], database: Database):
    tail = start(tails, database)
    assert tail.process.wait(STOP_S) == 1
    errors = tail.errors.read()
    assert 'CREATE PUBLICATION "supabase_realtime"' in errors
    assert "Traceback" not in errors
