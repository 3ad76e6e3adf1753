"""The servers that are measured, each started as a process of its own and asked for its processor time.

Every one of them is reached at a WebSocket on 127.0.0.1 and takes a join as its clients' first text. Nothing is pinned
to a core: with the load generator and, for pgcast, three processes of Postgres at work, two cores are shared by more
processes than they can be dealt out to.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from load import MeasurementFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_HERE = Path(__file__).parent
_VENV = _HERE.parent / ".venv"
_PGCAST_PATH = "/socket/websocket?vsn=2.0.0"
_START_DEADLINE_S = 30.0
_STOP_DEADLINE_S = 10.0
_POLL_S = 0.02
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_US_PER_TICK = 1_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        name: As the report calls it.
        pid: Its process.
        port: Where it listens.
        path: The path of its WebSocket.
    """

    name: str
    pid: int
    port: int
    path: str

    def cpu_us(self) -> int:
        """Return the processor time, user and system, that all its threads have taken."""
        # "pid (name) state ppid ..." with utime and stime as fields 14 and 15; the name may contain anything.
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _US_PER_TICK

    def rss_bytes(self) -> int:
        """Return the memory that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_BYTES


def wait_until_quiet(server: Server) -> None:
    """Return when a server has nothing to do any more, or after a while."""
    for _ in range(100):
        before_us = server.cpu_us()
        time.sleep(0.1)
        if server.cpu_us() - before_us <= _US_PER_TICK:
            return


@contextmanager
def pgcast(dsn: str, *, slot: str, publication: str, **more: str) -> Iterator[Server]:
    """Run pgcast on a database until the block ends; `more` are settings.

    Raises:
        MeasurementFailed: It did not become ready.
    """
    port = _free_port()
    settings = {
        "DATABASE_URL": dsn,
        "SLOT_NAME": slot,
        "PUBLICATIONS": publication,
        "PORT": str(port),
        "PGCAST_BIND": "127.0.0.1",
        **more,
    }
    with _running("pgcast", [_VENV / "bin" / "pgcast", "serve"], settings, port, _PGCAST_PATH, _is_healthy) as server:
        yield server


@contextmanager
def endpoint() -> Iterator[Server]:
    """Run an unreliable endpoint for webhooks until the block ends.

    Raises:
        MeasurementFailed: It did not start.
    """
    port = _free_port()
    command: list[str | Path] = [sys.executable, _HERE / "endpoint.py", str(port)]
    with _running("endpoint", command, {}, port, "/hook", _listens) as server:
        yield server


@contextmanager
def uwebsockets() -> Iterator[Server]:
    """Run the uWebSockets baseline until the block ends.

    Raises:
        MeasurementFailed: It does not run on this machine.
    """
    port = _free_port()
    command: list[str | Path] = [_VENV / "bench" / "bin" / "python", _HERE / "uws_server.py", str(port)]
    with _running("uWebSockets", command, {}, port, "/", _listens) as server:
        yield server


@contextmanager
def ws() -> Iterator[Server]:
    """Run the Node baseline until the block ends.

    Raises:
        MeasurementFailed: It does not run on this machine.
    """
    port = _free_port()
    with _running("ws", ["node", _HERE / "ws" / "server.js", str(port)], {}, port, "/", _listens) as server:
        yield server


@contextmanager
def websockets() -> Iterator[Server]:
    """Run the Python baseline until the block ends.

    Raises:
        MeasurementFailed: It does not run on this machine.
    """
    port = _free_port()
    command: list[str | Path] = [sys.executable, _HERE / "websockets_server.py", str(port)]
    with _running("websockets", command, {}, port, "/", _listens) as server:
        yield server


@contextmanager
def _running(
    name: str,
    command: Sequence[str | Path],
    settings: Mapping[str, str],
    port: int,
    path: str,
    is_ready: Callable[[int], bool],
) -> Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        except OSError as error:
            raise MeasurementFailed(f"{name} does not start: {error}") from error
        try:
            if not _wait_until(is_ready, process, port):
                log.seek(0)
                said = log.read().decode(errors="replace").strip()
                raise MeasurementFailed(f"{name} did not get ready; the end of what it said:\n{said[-2000:]}")
            yield Server(name, process.pid, port, path)
            if process.poll() is not None:
                raise MeasurementFailed(f"{name} ended by itself, with code {process.returncode}")
        finally:
            process.terminate()
            try:
                process.wait(_STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                print(f"{name} did not stop within {_STOP_DEADLINE_S:g} s and was killed", file=sys.stderr)
                process.kill()
                process.wait()


def _wait_until(is_ready: Callable[[int], bool], process: subprocess.Popen[bytes], port: int) -> bool:
    ends = time.monotonic() + _START_DEADLINE_S
    while process.poll() is None and time.monotonic() < ends:
        if is_ready(port):
            return True
        time.sleep(_POLL_S)
    return False


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
