"""Everything breaks at random moments while everything is written: each client ends with a copy that equals the tables.

What breaks, when and in which order follows from a seed, which a failure prints; PGCAST_TEST_SEED replays it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection

from faults.following import changes, joined_when_possible
from faults.line import Line, line_to
from fix_clients import REALTIME_JS, Application, application
from fix_node import Node, NodeFactory
from fix_postgres import ClusterFactory
from pgcast.devdb.cluster import Cluster

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

ALL = {"event": "*", "schema": "public", "table": "*"}
ACCOUNTS = 40
LEVEL_S = 60.0


class Writer:
    """Writes transactions of all kinds from a thread, over restarts of Postgres. A context manager."""

    def __init__(self, dsn: str, seed: int) -> None:
        self._dsn = dsn
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._dsn) as connection:
                while not self._stop.is_set():
                    self._write(connection)
                    time.sleep(0.002)
            time.sleep(0.05)

    def _write(self, connection: psycopg.Connection) -> None:
        draw = self._random
        for _ in range(draw.choice([1, 1, 1, 5, 20])):
            account, value = draw.randint(1, ACCOUNTS), draw.randint(0, 1_000_000)
            statement = draw.choice(
                [
                    "insert into accounts values (%(id)s, %(v)s) on conflict (id) do update set v = excluded.v",
                    "update accounts set v = %(v)s where id between %(id)s and %(id)s + 2",
                    "delete from accounts where id = %(id)s",
                    """update accounts set id = id + 1000 where id = %(id)s
                       and not exists (select from accounts where id = %(id)s + 1000)""",
                ]
            )
            connection.execute(statement, {"id": account, "v": value})
        rows = draw.choice([1, 1, 1, 1, 1, 1, 1, 1, 1, 300])
        connection.execute("insert into log (v) select 'row' from generate_series(1, %s)", (rows,))
        if draw.random() < 0.1:
            connection.rollback()
        else:
            connection.commit()


@dataclass
class Copy:
    """What a client makes of the changes it gets.

    Attributes:
        accounts: The table, by key.
        log: The ids, in the order in which they came first.
        repeats: How many changes came again.
    """

    accounts: dict[int, int] = field(default_factory=dict)
    log: list[int] = field(default_factory=list)
    repeats: int = 0
    _positions: set[str] = field(default_factory=set)
    _last: str = ""

    def take(self, change: dict[str, Any]) -> None:
        position = change["position"]
        if position in self._positions:
            self.repeats += 1
            return
        assert position > self._last, "a change came before an earlier one"
        self._positions.add(position)
        self._last = position
        self.apply(change["table"], change["type"], change.get("record"), change.get("old_record"))

    def apply(self, table: str, kind: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> None:
        if table == "log":
            assert new is not None
            self.log.append(new["id"])
            return
        if old and kind != "INSERT":
            self.accounts.pop(old["id"], None)
        if new and kind != "DELETE":
            self.accounts[new["id"]] = new["v"]

    @property
    def last(self) -> int:
        return self.log[-1] if self.log else 0


class Follower:
    """A client that goes on by its id, or by the last position it has, whenever its connection ends."""

    def __init__(self, node: Node, resume: str | None) -> None:
        self.copy = Copy()
        self._node = node
        self._resume = resume
        self._socket: ClientConnection | None = None
        self.joined = asyncio.Event()
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            since = {"since": self.copy._last} if self._resume is None and self.copy._last else {}
            self._socket = await joined_when_possible(self._node.url, resume=self._resume, table="*", **since)
            self.joined.set()
            async for change in changes(self._socket):
                self.copy.take(change)

    def cut(self) -> None:
        if self._socket is not None:
            self._socket.transport.abort()

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()


@dataclass
class Scene:
    """All that can be broken, and whoever follows it."""

    cluster: Cluster
    node: Node
    line: Line
    followers: list[Follower]
    draw: random.Random

    async def kill(self) -> None:
        """SIGKILL the server, now and then once more while it starts."""
        self.node.kill()
        while self.draw.random() < 0.2:
            self.node.start(wait=False)
            await asyncio.sleep(self.draw.uniform(0, 0.8))
            self.node.kill()
        await asyncio.sleep(self.draw.uniform(0, 0.5))
        await asyncio.to_thread(self.node.start)

    async def restart_fast(self) -> None:
        await asyncio.to_thread(self.cluster.restart, "fast")

    async def restart_immediate(self) -> None:
        await asyncio.to_thread(self.cluster.restart, "immediate")

    async def cut_line(self) -> None:
        self.line.cut()

    async def cut_clients(self) -> None:
        for follower in self.followers:
            if self.draw.random() < 0.7:
                follower.cut()


@contextlib.asynccontextmanager
async def scene(
    own_cluster: ClusterFactory, start_node: NodeFactory, tmp_path: Path, seed: int
) -> AsyncIterator[Scene]:
    cluster = own_cluster(settings={"wal_sender_timeout": "10s"})
    with cluster.connect() as connection:
        connection.execute("create table accounts (id int primary key, v int); create table log (id serial, v text)")
        connection.execute("create publication supabase_realtime for all tables")
    async with line_to(cluster) as (line, dsn):
        node = await asyncio.to_thread(
            start_node, dsn, PGCAST_WINDOW_MB="256", PGCAST_STATE_DIR=str(tmp_path / "state"),
            DB_RECONNECT_BACKOFF_MIN="50", DB_RECONNECT_BACKOFF_MAX="500", PGCAST_IDLE_S="0",
        )  # fmt: skip
        followers = [Follower(node, resume) for resume in ("one", "two", None)]
        try:
            await asyncio.gather(*(follower.joined.wait() for follower in followers))
            yield Scene(cluster, node, line, followers, random.Random(seed))
        except BaseException:
            print(f"\nPGCAST_TEST_SEED={seed} replays it\n{node.log()}")
            raise
        finally:
            await asyncio.gather(*(follower.close() for follower in followers))


async def play(scene: Scene, acts: list[str], seed: int) -> None:
    """Break things in a random order while all is written; return when every follower has come to the end."""
    scene.draw.shuffle(acts)
    with Writer(scene.cluster.dsn(), seed):
        await asyncio.sleep(1)  # something to resume from
        for act in acts:
            await asyncio.sleep(scene.draw.uniform(0.1, 1.0))
            await getattr(scene, act)()
            for follower in scene.followers:
                assert not follower.task.done(), follower.task.exception()
        await asyncio.sleep(0.5)


def tables(cluster: Cluster) -> tuple[dict[int, int], list[int]]:
    with cluster.connect() as connection:
        accounts = dict(connection.execute("select id, v from accounts").fetchall())
        log = [row[0] for row in connection.execute("select id from log order by id")]
    return accounts, log


async def check_followers(scene: Scene) -> None:
    accounts, log = await asyncio.to_thread(tables, scene.cluster)
    ends_s = time.monotonic() + LEVEL_S
    for follower in scene.followers:
        while follower.copy.last != log[-1]:
            assert not follower.task.done(), follower.task.exception()
            assert time.monotonic() < ends_s, f"{follower.copy.last} of {log[-1]}"
            await asyncio.sleep(0.05)
        assert sorted(follower.copy.log) == log, "each row of it, and each once"
        assert follower.copy.accounts == accounts


def seed_of_today() -> int:
    return int(os.environ.get("PGCAST_TEST_SEED", secrets.randbits(32)))


async def test_clients_end_with_what_the_tables_hold(
    own_cluster: ClusterFactory, start_node: NodeFactory, tmp_path: Path
):
    seed = seed_of_today()
    async with scene(own_cluster, start_node, tmp_path, seed) as stage:
        await play(stage, ["kill", "restart_immediate", "cut_line", "cut_clients"], seed)
        await check_followers(stage)


def copy_of(app: Application) -> Copy:
    """What a JavaScript application, which is not handed positions, makes of all that it got."""
    copy = Copy()
    for line in app.unread("change"):
        change = line["change"]
        copy.apply(change["table"], change["eventType"], change["new"], change["old"])
    return copy


@pytest.mark.long
async def test_so_do_javascript_applications_that_only_set_a_parameter_over_ten_kills(
    own_cluster: ClusterFactory, start_node: NodeFactory, tmp_path: Path
):
    seed = seed_of_today()
    async with scene(own_cluster, start_node, tmp_path, seed) as stage:
        channel = {"topic": "all", "bindings": [ALL]}
        async with application(
            REALTIME_JS, stage.node, channel, params={"resume": "an-application"}, may_log=("",)
        ) as app:
            await app.gets_status("SUBSCRIBED", "all")
            acts = ["kill"] * 10 + ["restart_fast", "restart_immediate"] + ["cut_line"] * 3 + ["cut_clients"] * 5
            await play(stage, acts, seed)
            await check_followers(stage)
            accounts, log = await asyncio.to_thread(tables, stage.cluster)
            ends_s = time.monotonic() + LEVEL_S
            while (copy := copy_of(app)).last != log[-1]:
                assert time.monotonic() < ends_s, f"{copy.last} of {log[-1]}"
                await asyncio.sleep(0.5)
            assert sorted(set(copy.log)) == log, "each row of it, and each at least once"
            assert copy.accounts == accounts
