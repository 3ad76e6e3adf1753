"""`pgcast demo` for the tests: a process of its own, ended however a test ends."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from fix_node import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 60.0
STOP_S = 30.0


class Demo:
    """A running demo."""

    def __init__(self, *options: str, script: Path | None = None, **environment: str) -> None:
        program = ["-m", "pgcast", "demo"] if script is None else [str(script)]
        self.process = subprocess.Popen(
            [sys.executable, *program, *options],
            env={**clean_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> re.Match[str]:
        """Read what it prints up to a line with the pattern; the test's own deadline bounds the wait."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"it ended: {''.join(self.lines)} {self.end()[1]}")

    def wait_until_serving(self) -> None:
        self.port = int(self.read_until(r"open http://localhost:(\d+)/")[1])
        self.dsn = self.read_until(r'psql "(.*)"')[1]
        self.folder = Path(unquote(self.dsn.partition("host=")[2].partition("&")[0])).parent

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/socket/websocket"

    def get(self, path: str) -> tuple[int, str, bytes]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
            return response.status, response.headers["content-type"], response.read()

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was printed as errors."""
        _, errors = self.process.communicate(timeout=STOP_S)
        return self.process.returncode, errors

    def assert_nothing_is_left(self) -> None:
        assert not self.folder.exists()
        assert processes_with(str(self.folder)) == []


def processes_with(text: str) -> list[int]:
    """The processes that name a text in their command line: Postgres names its folders there."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in line:
                found.append(int(folder.name))
    return found


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Those that a test started, to be ended however the test ends."""
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.end()
        for pipe in (demo.process.stdout, demo.process.stderr):
            if pipe is not None:
                pipe.close()
