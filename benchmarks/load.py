"""The load generator `bin/load` as a Python object: many clients that join, count what they receive, and report."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

_PROGRAM = Path(__file__).parent / "bin" / "load"
# The event of a message with its payload behind it; a join's reply holds the same word, but as a key.
_MARKER = '"postgres_changes",{'
_SEQUENCE = '"record":{"id":'
_JOINED = "Subscribed to PostgreSQL"


class MeasurementFailed(Exception):
    """Something could not be measured; the message says what and why."""


class WrongCount(MeasurementFailed):
    """A client got more, fewer or other messages than were sent, so that no time of that run means anything."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What the clients saw.

    Attributes:
        clients: How many there were.
        least: The number of messages of the client that got the fewest.
        most: The number of messages of the client that got the most.
        frames: Messages of all clients together.
        payload_bytes: Their size without WebSocket headers.
        all_frames: Text frames of any kind, replies to the join included.
        all_bytes: Everything that was read.
        out_of_order: Messages whose number was not one more than that of the message before.
        closed: Clients whose connection the server closed.
        first_ns: When the first message had arrived, on the monotonic clock.
        last_ns: When the last one had.
        cpu_us: The processor time that the load generator itself took, from when all had joined.
    """

    clients: int
    least: int
    most: int
    frames: int
    payload_bytes: int
    all_frames: int
    all_bytes: int
    out_of_order: int
    closed: int
    first_ns: int
    last_ns: int
    cpu_us: int

    def check(self, frames_each: int) -> None:
        """Make sure that every client got every message once and in order.

        Raises:
            WrongCount: One did not.
        """
        if self.least == self.most == frames_each and not self.out_of_order and not self.closed:
            return
        raise WrongCount(
            f"{self.clients} clients should have got {frames_each} messages each: they got {self.least} to "
            f"{self.most}, {self.out_of_order} out of order, {self.closed} connections were closed"
        )


class Load:
    """A running load generator; leaving the `with` block ends it.

    Args:
        port: The server's port on 127.0.0.1.
        path: The path of its WebSocket.
        join: The text that each client sends first.
        joined: What its answer contains.
        marker: What is near the start of the messages that count.
        sequence: What stands before a number in them that grows by one.
        clients: How many.
        frames: How many messages each is to get.
        progress: After how many messages, each time, to say so when every client has them; 0 for never.
        deadline_s: How long the clients wait for all of them.

    Raises:
        MeasurementFailed: They could not join.
    """

    def __init__(  # noqa: PLR0913 - as many as the program has options
        self,
        *,
        port: int,
        path: str,
        join: str,
        clients: int,
        frames: int,
        progress: int = 0,
        joined: str = _JOINED,
        marker: str = _MARKER,
        sequence: str = _SEQUENCE,
        deadline_s: float = 60,
    ) -> None:
        options = {
            "port": port,
            "path": path,
            "clients": clients,
            "join": join,
            "joined": joined,
            "marker": marker,
            "frames": frames,
            "progress": progress,
            "sequence": sequence,
            "deadline": deadline_s,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self._frames = frames
        self._process = subprocess.Popen([_PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._lines = iter(self._process.stdout)
        if self._line() != "READY":
            raise MeasurementFailed("the clients did not wait until they had joined")
        self._result: Counted | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def progress(self) -> Iterator[int]:
        """Yield how many messages every client has, each time it is a multiple of `progress`; ends with the last."""
        while (line := self._line()).isdecimal():
            yield int(line)
            if int(line) == self._frames:
                return
        self._result = Counted(**json.loads(line))

    def wait(self) -> Counted:
        """Wait for the end, and return what was counted, right or wrong."""
        if self._result is None:
            self._result = Counted(**json.loads(self._line()))
        return self._result

    def result(self) -> Counted:
        """Wait for the end, and return what was counted, checked.

        Raises:
            WrongCount: Not every client got every message once and in order.
        """
        counted = self.wait()
        counted.check(self._frames)
        return counted

    def _line(self) -> str:
        line = next(self._lines, None)
        if line is None:
            raise MeasurementFailed(self._process.communicate()[1].strip() or "the load generator ended early")
        return line.strip()
