"""Applications that use the official clients: each a process of its own, whose lines are what the application got.

Also what the clients' tests share to be quick: one server and one database for a module, a schema for each test.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from fix_node import Node, NodeFactory, clean_environment, node_factory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.devdb.template import Database, Template

ROOT = Path(__file__).parents[1]
DEADLINE_S = 20.0

# What clients say whatever the server does.
_ALWAYS_SAID = ("Node.js 20 and below are deprecated",)

# Large frames come in one line.
_LINE_BYTES = 1 << 24


@dataclass(frozen=True)
class Client:
    """One official client, how it speaks, and where it is pointed at."""

    package: str
    vsn: str | None = None
    path: str = "/socket"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.package, self.vsn, self.path)))

    @property
    def is_legacy(self) -> bool:
        return self.package == "realtime-js-1-7-5"

    @property
    def is_python(self) -> bool:
        return self.package in PYTHON_VERSIONS

    def url(self, node: Node) -> str:
        # supabase-js is given the project's URL and knows the rest.
        return node.http_url if self.package == "supabase-js" else f"ws://127.0.0.1:{node.port}{self.path}"

    def command(self) -> list[str]:
        if self.is_python:
            return [
                installed(f".venv/realtime-{PYTHON_VERSIONS[self.package]}/bin/python"),
                str(ROOT / "tests/clients/python/listen.py"),
            ]
        installed("tests/clients/js/node_modules")
        return ["node", str(ROOT / "tests/clients/js/listen.mjs")]


def installed(path: str) -> str:
    """Return the whole path of something that is no part of the repository."""
    assert (ROOT / path).exists(), f"{path} is missing: `make .venv/.clients` installs the official clients"
    return str(ROOT / path)


PYTHON_VERSIONS = {"realtime-py": "2.34.1", "realtime-py-2-4-3": "2.4.3"}

SUPABASE_JS = Client("supabase-js", "2.0.0", "/realtime/v1")
SUPABASE_JS_V1 = Client("supabase-js", "1.0.0", "/realtime/v1")
REALTIME_JS = Client("realtime-js", "2.0.0", "/socket")
REALTIME_JS_V1 = Client("realtime-js", "1.0.0", "/realtime/v1")
REALTIME_JS_2_15 = Client("realtime-js-2-15-6", None, "/socket")
REALTIME_JS_2_10 = Client("realtime-js-2-10-7", None, "/socket")
REALTIME_JS_1_7 = Client("realtime-js-1-7-5", None, "/socket")
REALTIME_PY = Client("realtime-py", None, "/socket")
REALTIME_PY_2_4 = Client("realtime-py-2-4-3", None, "/socket")

JAVASCRIPT_CLIENTS = (SUPABASE_JS, REALTIME_JS, REALTIME_JS_V1, REALTIME_JS_2_15, REALTIME_JS_2_10)
PYTHON_CLIENTS = (REALTIME_PY, REALTIME_PY_2_4)
TODAYS = (*JAVASCRIPT_CLIENTS, *PYTHON_CLIENTS)
CLIENTS = (*TODAYS, REALTIME_JS_1_7)

# One client for each column of the table of compatibility.
EACH_KIND = (
    *(REALTIME_JS, REALTIME_JS_V1, REALTIME_JS_2_15, REALTIME_JS_2_10, REALTIME_JS_1_7),
    *PYTHON_CLIENTS,
)
EACH_OF_TODAY = tuple(client for client in EACH_KIND if client != REALTIME_JS_1_7)


def at_both_paths(*clients: Client) -> list[Any]:
    """Parameters: each client at each of the two paths, which is a behaviour of its own."""
    return [
        pytest.param(Client(client.package, client.vsn, path), marks=pytest.mark.behaviour(f"path {path}"))
        for client in clients
        for path in ("/socket", "/realtime/v1")
    ]


class Application:
    """A program that listens with a client. Use with `async with`; whatever it got and nobody asked for is no fault,
    but it must not crash, nor say anything on its console that `may_log` does not name.
    """

    def __init__(self, client: Client, config: dict[str, Any], may_log: tuple[str, ...]) -> None:
        self.client = client
        self.lines: list[dict[str, Any]] = []
        self._config = config
        self._may_log = (*may_log, *_ALWAYS_SAID)
        self._unread: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._news = asyncio.Event()
        self._process: asyncio.subprocess.Process
        self._readers: list[asyncio.Task[None]]

    async def __aenter__(self) -> Self:
        path = os.pathsep.join((str(ROOT / ".venv/node/bin"), os.environ["PATH"]))
        self._process = await asyncio.create_subprocess_exec(
            *self.client.command(),
            json.dumps(self._config),
            env={**clean_environment(), "PATH": path},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read_lines(self._process.stdout)),
            asyncio.create_task(self._read_complaints(self._process.stderr)),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(DEADLINE_S):
                code = await self._process.wait()
                await asyncio.gather(*self._readers)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            await asyncio.gather(*self._readers, return_exceptions=True)
            raise AssertionError(f"{self} did not end") from None
        self._check()
        assert code == 0, f"{self} ended with {code}"

    def __str__(self) -> str:
        return f"{self.client}, which got\n" + "\n".join(map(json.dumps, self.lines))

    # What the application got

    async def get(self, kind: str, *, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next line of a kind."""
        unread = self._unread[kind]
        try:
            async with asyncio.timeout(deadline_s):
                while not unread:
                    self._check()
                    assert not self._readers[0].done(), f"{self} ended by itself"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {kind} within {deadline_s:g} s for {self}") from None
        self._check()
        return unread.popleft()

    async def gets_status(self, status: str, *topics: str) -> None:
        """The next statuses are this one, once for each topic."""
        got = [await self.get("status") for _ in topics]
        assert [line["status"] for line in got] == [status] * len(topics), str(self)
        assert sorted(line["topic"] for line in got) == sorted(topics), str(self)

    async def gets_back(self, *topics: str) -> list[str]:
        """Wait until all topics are subscribed once more; return the statuses before that."""
        missing = set(topics)
        before = []
        while missing:
            line = await self.get("status", deadline_s=40)
            if line["status"] == "SUBSCRIBED":
                missing.discard(line["topic"])
            else:
                before.append(line["status"])
        return before

    async def gets_changes(self, count: int) -> list[dict[str, Any]]:
        """The next changes: lines of `change`, `topic` and `listener`."""
        return [await self.get("change") for _ in range(count)]

    def unread(self, kind: str) -> list[dict[str, Any]]:
        """What has come and was not asked for."""
        return list(self._unread[kind])

    # What it is told to do

    async def join(self, topic: str, *bindings: dict[str, Any]) -> None:
        await self._tell(join={"topic": topic, "bindings": list(bindings)})

    async def leave(self, topic: str) -> None:
        await self._tell(leave=topic)
        line = await self.get("left")
        assert line == {"left": "ok", "topic": topic}, str(self)

    async def replace(self, topic: str, *bindings: dict[str, Any]) -> None:
        """Leave a topic, and join it again at once, as an application does whose view was made anew."""
        await self._tell(leave=topic)
        await self._tell(join={"topic": topic, "bindings": list(bindings)})
        await self.get("left")

    async def act(self, topic: str, **command: object) -> Any:
        """Send, track or untrack on a channel; return what the client says of it."""
        await self._tell(topic=topic, **command)
        return (await self.get("did"))["did"]

    async def set_auth(self, token: str) -> None:
        """Hand all channels a new token."""
        await self._tell(setAuth=token)

    async def gets_presence(self, *keys: str) -> dict[str, Any]:
        """Wait until just these keys are present; return the state."""
        while True:
            state: dict[str, Any] = (await self.get("presence"))["presence"]
            if sorted(state) == sorted(keys):
                return state

    async def _tell(self, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    # Inside

    async def _read_lines(self, stream: asyncio.StreamReader) -> None:
        async for text in stream:
            line = json.loads(text)
            self.lines.append(line)
            self._unread[next(iter(line))].append(line)
            self._news.set()
        self._news.set()

    async def _read_complaints(self, stream: asyncio.StreamReader) -> None:
        async for text in stream:
            self.lines.append({"log": text.decode().rstrip()})

    def _check(self) -> None:
        for line in self.lines:
            assert "crash" not in line, f"{self.client} crashed: {line['crash']}"
            if "log" in line:
                assert any(words in line["log"] for words in self._may_log), f"{self.client} said {line['log']}"


def application(
    client: Client, node: Node, *channels: dict[str, Any], may_log: tuple[str, ...] = (), **config: Any
) -> Application:
    """An application that joins channels: each `{"topic": ..., "bindings": [...]}`."""
    settings = {"package": client.package, "url": client.url(node), "apikey": "anon", "channels": channels, **config}
    if client.vsn is not None:
        settings["vsn"] = client.vsn
    return Application(client, settings, may_log)


@pytest.fixture(scope="module")
def shared_database(empty_template: Template) -> Iterator[Database]:
    """A database for the tests of a module, all of whose tables are published."""
    made = empty_template.copy()
    made.execute("create publication supabase_realtime for all tables")
    try:
        yield made
    finally:
        made.drop()


@pytest.fixture(scope="module")
def start_shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFactory]:
    """A factory of servers for the tests of a module."""
    with node_factory(tmp_path_factory.mktemp("nodes")) as start_one:
        yield start_one


@pytest.fixture(scope="module")
def shared_node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    """A server that follows `shared_database`: never stopped by a test."""
    return start_shared_node(shared_database.dsn)


@dataclass(frozen=True)
class Schema:
    """A schema of the shared database for one test, with a table `todos` and a table `notes`."""

    name: str
    database: Database

    def execute(self, statement: str) -> None:
        self.database.execute(f"set search_path to {self.name}; {statement}")

    def binding(self, event: str = "*", table: str | None = None, **more: str) -> dict[str, Any]:
        """A `postgres_changes` binding to a table of the schema, or to all of them."""
        return {"event": event, "schema": self.name, **({"table": table} if table else {}), **more}


_numbers = itertools.count(1)


@pytest.fixture
def schema(shared_database: Database) -> Schema:
    made = Schema(f"space_{next(_numbers)}", shared_database)
    shared_database.execute(f"create schema {made.name}")
    made.execute("create table todos (id int8 primary key, title text, done bool default false)")
    made.execute("create table notes (id int8 primary key)")
    return made
