"""The postmaster, Postgres' first process: start it, read its pid file, stop it, recognise one that was left behind.

Layout of `postmaster.pid`, one item a line: process id, data directory, start time, port, socket directory, listen
address, shared memory key and id, status (PostgreSQL, chapter "Database File Layout").
"""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pgcast.devdb.launch import Account, command_line
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

StopMode = Literal["fast", "immediate"]

PID_FILE = "postmaster.pid"

# How long an immediate shutdown may take, and then the end of a process that got SIGKILL.
_IMMEDIATE_DEADLINE_S = 5.0
_KILL_DEADLINE_S = 5.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class PidFile:
    """What `postmaster.pid` says.

    Attributes:
        pid: The postmaster's process id.
        is_ready: Whether it takes connections.
    """

    pid: int
    is_ready: bool


class Postmaster:
    """A postmaster that this process started.

    It ends with us: its death signal is SIGQUIT, an immediate shutdown, which no client can hold up. The signal comes
    when the starting thread ends, so that is a thread of its own which waits for the postmaster.

    Args:
        program: `postgres` and its arguments.
        account: Who runs it; None for ourselves.
        environment: Its environment, complete.
        directory: Its working directory, until it changes to the data directory.
        log: Where its output is appended.

    Raises:
        OSError: It could not be started.
    """

    def __init__(
        self,
        program: Sequence[str],
        *,
        account: Account | None,
        environment: Mapping[str, str],
        directory: Path,
        log: Path,
    ) -> None:
        self._ended = threading.Event()
        started: queue.SimpleQueue[subprocess.Popen[bytes] | Exception] = queue.SimpleQueue()

        def start_and_wait() -> None:
            try:
                with log.open("ab") as output:
                    child = subprocess.Popen(  # noqa: S603 - the program that was found
                        command_line(program, account=account, environment=environment, death_signal=signal.SIGQUIT),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd=directory,
                        # Ctrl-C in the terminal is for us; we stop Postgres when we are done with it.
                        start_new_session=True,
                    )
            except Exception as error:  # noqa: BLE001 - raised in the caller's thread
                started.put(error)
                return
            started.put(child)
            child.wait()
            self._ended.set()

        threading.Thread(target=start_and_wait, name="pgcast-postmaster", daemon=True).start()
        outcome = started.get()
        if isinstance(outcome, Exception):
            raise outcome
        self._child = outcome

    @property
    def pid(self) -> int:
        """The process id; the launching script becomes Postgres, so it is the same from the start."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended.is_set()

    def stop(self, mode: StopMode, *, deadline_s: float) -> None:
        """Ask it to stop, ask harder when the deadline has passed, and return when it is gone; twice is safe.

        Raises:
            PgcastError: Even SIGKILL did not end it.
        """
        _stop(self._signal, self._ended.wait, mode, deadline_s=deadline_s, who=f"Postgres {self.pid}")

    def kill(self) -> None:
        """Send SIGKILL to it and to its backends, and return when it is gone.

        Raises:
            PgcastError: It did not end.
        """
        self._signal(signal.SIGKILL)
        if not self._ended.wait(_KILL_DEADLINE_S):
            raise PgcastError(f"Postgres {self.pid} does not end")

    def _signal(self, number: int) -> None:
        backends = _children(self.pid) if number == signal.SIGKILL else []
        self._child.send_signal(number)
        for backend in backends:
            _send(backend, number)


def parse_pid_file(text: str) -> PidFile | None:
    """Read a pid file; None if it holds no process id (it is written in steps)."""
    lines = text.splitlines()
    # A standalone backend writes its id with a minus.
    if not lines or not lines[0].strip().lstrip("-").isdecimal():
        return None
    status = lines[7].strip() if len(lines) > 7 else ""
    return PidFile(pid=abs(int(lines[0])), is_ready=status == "ready")


def read_pid_file(data: Path) -> PidFile | None:
    """Read the pid file of a data directory; None if there is none, or nothing in it yet."""
    try:
        return parse_pid_file((data / PID_FILE).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return None


def running_postmaster(data: Path) -> int | None:
    """Return the process id of the postmaster that serves a data directory, None if none does.

    The pid file alone proves nothing: after a crash it stays, and the number may belong to somebody else by now. A
    postmaster is recognised by its command line, `postgres -D <data>`, which others can read and its children replace.
    """
    found = read_pid_file(data)
    if found is None:
        return None
    return found.pid if _serves(_command(found.pid), data) else None


def stop_orphan(data: Path, *, deadline_s: float = _IMMEDIATE_DEADLINE_S) -> None:
    """Stop the postmaster that a killed run left behind, if there is one.

    Raises:
        PgcastError: Even SIGKILL did not end it.
    """
    pid = running_postmaster(data)
    if pid is None:
        return

    def send(number: int) -> None:
        # Asked anew each time: the number may have changed hands.
        if _serves(_command(pid), data):
            _send(pid, number)

    def has_ended(deadline_s: float) -> bool:
        ends = time.monotonic() + deadline_s
        while _serves(_command(pid), data):
            if time.monotonic() > ends:
                return False
            time.sleep(_POLL_S)
        return True

    _stop(send, has_ended, "fast", deadline_s=deadline_s, who=f"the left-over Postgres {pid}")


def remove_stale_pid_file(data: Path) -> None:
    """Remove the pid file of a postmaster that is gone; Postgres itself only looks whether the number is in use."""
    if running_postmaster(data) is None:
        (data / PID_FILE).unlink(missing_ok=True)


def _stop(
    send: Callable[[int], None],
    has_ended: Callable[[float], bool],
    mode: StopMode,
    *,
    deadline_s: float,
    who: str,
) -> None:
    # PostgreSQL, chapter "Shutting Down the Server": SIGINT is fast, SIGQUIT immediate.
    ways = [
        (signal.SIGINT, deadline_s),
        (signal.SIGQUIT, min(deadline_s, _IMMEDIATE_DEADLINE_S)),
        (signal.SIGKILL, _KILL_DEADLINE_S),
    ]
    for number, deadline in ways if mode == "fast" else ways[1:]:
        if has_ended(0):
            return
        send(number)
        if has_ended(deadline):
            return
    raise PgcastError(f"{who} does not end")


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _serves(command: Sequence[str], data: Path) -> bool:
    if len(command) < 3 or Path(command[0]).name != "postgres":
        return False
    return any(pair == ("-D", str(data)) for pair in itertools.pairwise(command))


def _command(pid: int) -> list[str]:
    """Return the command line of a process, empty if there is none."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return []
    listed = subprocess.run(  # noqa: S603 - a fixed command and a number
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return listed.stdout.split()


def _children(pid: int) -> list[int]:
    """Return the process ids of a process's children; empty where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # "pid (name) state ppid ...": the name may contain anything.
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found
