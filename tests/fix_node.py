"""A running `pgcast serve` for the tests: a process of its own, on a free port of loopback, ended by its pid."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.devdb.template import Database

START_S = 20.0
STOP_S = 20.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Node:
    """One server process, which may be killed and started again with the same settings."""

    environment: dict[str, str]
    port: int
    log_path: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/socket/websocket"

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "dev", "-W", "error::ResourceWarning", "-m", "pgcast", "serve"]
                if os.environ.get("PGCAST_TEST_DEV")
                else [sys.executable, "-m", "pgcast", "serve"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        ends = time.monotonic() + START_S
        while time.monotonic() < ends:
            assert self.process is not None
            assert self.process.poll() is None, f"the server ended by itself:\n{self.log()}"
            try:
                with urllib.request.urlopen(f"{self.http_url}/ready", timeout=1) as response:
                    if response.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not become ready:\n{self.log()}")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the server did not stop:\n{self.log()}") from None
        return self.process.returncode

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def rss_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


class NodeFactory(Protocol):
    """Start a server on a database; keyword arguments are settings."""

    def __call__(self, dsn: str, *, start: bool = True, **settings: str) -> Node: ...


def clean_environment() -> dict[str, str]:
    """The environment without whatever libpq or pgcast would read from it."""
    kept = {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name in kept}


@contextlib.contextmanager
def node_factory(folder: Path) -> Iterator[NodeFactory]:
    """A factory of servers; whatever still runs at the end is stopped, and its log must hold no traceback."""
    nodes: list[Node] = []

    def start_one(dsn: str, *, start: bool = True, **settings: str) -> Node:
        port = free_port()
        environment = {
            **clean_environment(),
            "DATABASE_URL": dsn,
            "PORT": str(port),
            "SLOT_NAME": f"pgcast_{port}",
            **settings,
        }
        node = Node(environment, port, folder / f"pgcast-{port}.log")
        nodes.append(node)
        if start:
            node.start()
        return node

    try:
        yield start_one
    finally:
        for node in nodes:
            if node.process is not None:
                node.stop()
    for node in nodes:
        if node.process is not None:
            assert "Traceback" not in node.log(), node.log()
            assert '"exception"' not in node.log(), node.log()


@pytest.fixture
def start_node(tmp_path: Path) -> Iterator[NodeFactory]:
    """A factory of servers for one test."""
    with node_factory(tmp_path) as start_one:
        yield start_one


@pytest.fixture
def published(database: Database) -> Database:
    """A database with a table `todos` in the default publication."""
    database.execute("create table todos (id int8 primary key, title text, done bool default false)")
    database.execute("create publication supabase_realtime for all tables")
    return database


@pytest.fixture
def node(published: Database, start_node: NodeFactory) -> Node:
    """A server that follows `published`."""
    return start_node(published.dsn)
