"""Endpoints that fail and hang, and a server that is killed meanwhile: each change arrives, in order, by its id."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from itertools import groupby
from pathlib import Path

import orjson
import psycopg
import pytest

from faults.following import changes, joined
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from receiver import HANG, SECRET, Answer, Post, Receiver

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


def start(start_node: NodeFactory, database: Database, folder: Path, *receivers: Receiver, **settings: str) -> Node:
    file = folder / "configuration.json"
    items = [{"relation": "public:todos", "config": {"endpoint": receiver.url()}} for receiver in receivers]
    file.write_text(json.dumps({"webhooks": items}))
    given = {
        "CONFIGURATION_FILE": str(file),
        "PGCAST_STATE_DIR": str(folder / "state"),
        "PGCAST_WEBHOOK_ALLOW": "127.0.0.1",
        "PGCAST_WEBHOOK_SECRET": SECRET,
        **settings,
    }
    return start_node(database.dsn, **given)


def unreliable(seed: int) -> Receiver:
    """An endpoint that fails 30 % of its requests, and hangs for 5 %."""
    source = random.Random(seed)

    def answer(_number: int, _post: Post) -> Answer:
        chance = source.random()
        return HANG if chance < 0.05 else 500 if chance < 0.35 else 200

    return Receiver(answer)


def write(dsn: str, transactions: int, rows: int, pause_s: float) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(transactions):
            first = number * rows
            connection.execute(
                "insert into todos select n, 'row' from generate_series(%s::int, %s::int) n",
                (first + 1, first + rows),
            )
            time.sleep(pause_s)


@pytest.mark.parametrize(
    ("transactions", "rows", "kills"),
    [(24, 5, 2), pytest.param(250, 40, 5, marks=pytest.mark.long)],
    ids=["120 changes", "10,000 changes"],
)
def test_each_change_arrives_at_least_once_in_order_with_the_same_id_on_repeats(
    transactions: int, rows: int, kills: int, published: Database, start_node: NodeFactory, tmp_path: Path
):
    with unreliable(seed=kills) as receiver:
        node = start(start_node, published, tmp_path, receiver, PGCAST_WEBHOOK_TIMEOUT_S="0.5")
        writing = threading.Thread(target=write, args=(published.dsn, transactions, rows, 0.1))
        writing.start()
        for kill in range(1, kills + 1):
            receiver.wait_for(transactions * kill // (kills + 1), deadline_s=120)
            node.kill()
            node.start()
        writing.join()
        ends = time.monotonic() + 200
        while not receiver.accepted or receiver.accepted[-1].row_ids[-1] != transactions * rows:
            assert time.monotonic() < ends, f"{len(receiver.accepted)} accepted"
            time.sleep(0.05)
    bodies: dict[str, bytes] = {}
    for post in receiver.posts:
        assert bodies.setdefault(post.id, post.body) == post.body, "an id stands for one body"
    in_order = [next(posts) for _, posts in groupby(receiver.accepted, key=lambda post: post.id)]
    assert len({post.id for post in in_order}) == len(in_order), "a repeat comes before anything newer"
    assert [number for post in in_order for number in post.row_ids] == list(range(1, transactions * rows + 1))
    positions = [change["position"] for post in in_order for change in post.changes]
    assert positions == sorted(set(positions))
    assert len(receiver.posts) > len(receiver.accepted), "some failed"


async def test_an_endpoint_that_hangs_holds_up_no_client_and_no_wal(
    published: Database, start_node: NodeFactory, tmp_path: Path
):
    with Receiver(lambda _number, _post: HANG) as receiver:
        node = start(start_node, published, tmp_path, receiver, PGCAST_WINDOW_S="1")
        socket = await joined(node.url)
        times = []
        with psycopg.connect(published.dsn, autocommit=True) as connection:
            feed = changes(socket)
            for number in range(100):
                begin = time.monotonic()
                connection.execute("insert into todos values (%s)", (number,))
                async with asyncio.timeout(5):
                    assert (await anext(feed))["record"]["id"] == number
                times.append(time.monotonic() - begin)
            assert sorted(times)[90] < 0.2, times
            last = connection.execute("select pg_current_wal_lsn()").fetchone()
            async with asyncio.timeout(15):
                while not connection.execute(  # noqa: ASYNC110 - Postgres tells nobody
                    "select 1 from pg_replication_slots where confirmed_flush_lsn >= %s", last
                ).fetchone():
                    await asyncio.sleep(0.1)
        await socket.close()
        assert len(receiver.posts) >= 1
        assert receiver.accepted == []


def test_what_waits_outlives_a_killed_server_and_its_slot(published: Database, start_node: NodeFactory, tmp_path: Path):
    """The slot has let go of what the spool holds."""
    with Receiver(lambda _number, _post: 503) as receiver:
        node = start(start_node, published, tmp_path, receiver)
        published.execute("insert into todos values (1)")
        receiver.wait_for_posts(1)
        node.kill()
        with psycopg.connect(published.dsn, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = %s and active",
                (node.environment["SLOT_NAME"],),
            )
            time.sleep(0.2)
            connection.execute("select pg_drop_replication_slot(%s)", (node.environment["SLOT_NAME"],))
        receiver.answer = lambda _number, _post: 204
        node.start()
        published.execute("insert into todos values (2)")
        assert [post.row_ids for post in receiver.wait_for(2)] == [[1], [2]]


def test_a_huge_transaction_takes_bounded_memory(published: Database, start_node: NodeFactory, tmp_path: Path):
    with Receiver() as receiver:
        node = start(start_node, published, tmp_path, receiver, PGCAST_WEBHOOK_MAX_KB="1024")
        before = node.rss_bytes()
        published.execute("insert into todos select n, repeat('x', 1000) from generate_series(1, 60000) n")
        count = 0
        peak = 0
        done = 0
        ends = time.monotonic() + 60
        while count < 60_000:
            assert time.monotonic() < ends, count
            time.sleep(0.05)
            peak = max(peak, node.rss_bytes())
            accepted = receiver.accepted[done:]
            done += len(accepted)
            count += sum(len(orjson.loads(post.body)["changes"]) for post in accepted)
    # 84 MB of bodies; the window keeps 64 MB of changes.
    assert peak - before < 160 << 20
