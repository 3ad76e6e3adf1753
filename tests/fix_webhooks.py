"""A server with webhooks, shared by the tests of a module: each test has a schema and a configuration of its own."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from receiver import SECRET, Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fix_node import Node, NodeFactory
    from pgcast.devdb.template import Database

SETTINGS = {
    "PGCAST_WEBHOOK_ALLOW": "127.0.0.1",
    "PGCAST_WEBHOOK_SECRET": SECRET,
    "PGCAST_WEBHOOK_TIMEOUT_S": "1",
    "PGCAST_WEBHOOK_MAX_KB": "4",
    "WEBHOOK_HEADERS": "X-One=1:Authorization=Bearer abc",
}


@dataclass
class Hooks:
    """A server, and the file that configures it."""

    node: Node
    file: Path
    state: Path

    def configure(self, *items: dict[str, Any], **more: Any) -> None:
        """Have exactly these webhooks."""
        self.file.write_text(json.dumps({"webhooks": list(items), **more}))
        self.reload("the configuration was read again")

    def reload(self, says: str) -> str:
        """Have the file read again; return the line of the log that says so."""
        before = len(self.node.log())
        assert self.node.process is not None
        self.node.process.send_signal(signal.SIGHUP)
        return self.wait_for_log(says, after=before)

    def wait_for_log(self, says: str, *, after: int = 0, deadline_s: float = 15.0) -> str:
        ends = time.monotonic() + deadline_s
        while True:
            found = [line for line in self.node.log()[after:].splitlines() if says in line]
            if found:
                return found[-1]
            assert time.monotonic() < ends, f"no line {says!r} in\n{self.node.log()[after:]}"
            time.sleep(0.01)

    def metric(self, name: str, endpoint: str) -> float:
        with urllib.request.urlopen(f"{self.node.http_url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        (found,) = (line for line in text.splitlines() if line.startswith(f'{name}{{endpoint="{endpoint}"}} '))
        return float(found.rpartition(" ")[2])

    def wait_for_metric(self, name: str, endpoint: str, value: float, *, deadline_s: float = 15.0) -> None:
        ends = time.monotonic() + deadline_s
        while (found := self.metric(name, endpoint)) != value:
            assert time.monotonic() < ends, f"{name} is {found:g}, not {value:g}"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def shared_hooks(
    shared_database: Database, start_shared_node: NodeFactory, tmp_path_factory: pytest.TempPathFactory
) -> Hooks:
    folder = tmp_path_factory.mktemp("hooks")
    file = folder / "configuration.json"
    file.write_text("{}")
    state = folder / "state"
    node = start_shared_node(shared_database.dsn, CONFIGURATION_FILE=str(file), PGCAST_STATE_DIR=str(state), **SETTINGS)
    return Hooks(node, file, state)


@pytest.fixture
def hooks(shared_hooks: Hooks) -> Iterator[Hooks]:
    """The shared server; its webhooks end with the test."""
    yield shared_hooks
    shared_hooks.configure()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


class MakeHooks(Protocol):
    """Start a server with webhooks; keyword arguments are settings."""

    def __call__(self, database: Database, *items: dict[str, Any], **settings: str) -> Hooks: ...


@pytest.fixture
def make_hooks(start_node: NodeFactory, tmp_path: Path) -> MakeHooks:
    """A factory of servers for one test."""

    def make(database: Database, *items: dict[str, Any], **settings: str) -> Hooks:
        file = tmp_path / "configuration.json"
        file.write_text(json.dumps({"webhooks": items}))
        state = tmp_path / "state"
        given = {"CONFIGURATION_FILE": str(file), "PGCAST_STATE_DIR": str(state), **SETTINGS, **settings}
        return Hooks(start_node(database.dsn, **given), file, state)

    return make
