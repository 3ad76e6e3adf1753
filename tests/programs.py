"""Programs that tests start and listen to, line by line."""

from __future__ import annotations

import subprocess
import threading
import time
from queue import Empty, Queue
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEADLINE_S = 30.0


class Program:
    """A running program. Use with `with`; it is killed at the end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._lines: Queue[str] = Queue()
        self.said: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")  # it has ended

    def wait_for(self, *words: str) -> str:
        """Read on until a line has all these words, in whatever case; return it."""
        ends = time.monotonic() + DEADLINE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, ends - time.monotonic()))
            except Empty:
                raise AssertionError(f"no line with {words} in:\n{''.join(self.said)}") from None
            assert line, f"it ended without a line with {words}:\n{''.join(self.said)}"
            self.said.append(line)
            if all(word.lower() in line.lower() for word in words):
                return line
