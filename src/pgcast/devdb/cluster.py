"""A PostgreSQL server of our own: made from a cached initdb, listening on loopback and on a socket, gone with us.

Everything lies in a folder of its own (see `folder`), the settings and pg_hba.conf beside the data directory, so that
ALTER SYSTEM still works and wins. The calls block, briefly; from asyncio use `asyncio.to_thread`.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from pgcast.devdb.binaries import Binaries, find_binaries, usable
from pgcast.devdb.configuration import DEFAULTS, HOST, NOT_DURABLE, Setting, hba_file, settings_file
from pgcast.devdb.folder import (
    claim_run,
    delete_run,
    locked,
    make_private,
    make_run,
    own_folder,
    remove_left_over_runs,
    server_account,
)
from pgcast.devdb.initdb import USER, cached_data, copy_data, make_data
from pgcast.devdb.postmaster import Postmaster, StopMode, read_pid_file, remove_stale_pid_file
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

Auth = Literal["password", "trust"]

_START_DEADLINE_S = 30.0
_STOP_DEADLINE_S = 10.0
_POLL_S = 0.01
_LOG_TAIL_BYTES = 2000
_PORT_TRIES = 20
# Below the ports that systems hand out by themselves (from 32768 or 49152): while a restart lasts, ours must not go to
# somebody who asked for any.
_PORTS = range(20000, 32000)


class Cluster:
    """A PostgreSQL server of our own. A context manager: started on entry, stopped and removed on exit.

    Connections through the socket need no password; who may open the socket may also read the files. On loopback every
    user of the machine could connect, so a random password is asked for there.

    Args:
        binaries: The programs; None for the newest of the wheel.
        settings: Settings beyond ours, which they override; see PostgreSQL, chapter "Server Configuration".
        auth: What loopback asks for: a password, or nothing (for tests on a machine of one user only).
        durable: Whether commits survive a failure of the machine; tests are faster without.
        cached: Copy the cached result of an earlier initdb, which saves half a second. All such clusters have one
            system identifier, by which clients tell whether a position is of this cluster: for tests.
        folder: Where it is made; None for our own folder.

    Raises:
        PgcastError: A setting's name or value cannot be written to a settings file.
    """

    def __init__(
        self,
        binaries: Binaries | None = None,
        *,
        settings: Mapping[str, Setting] | None = None,
        auth: Auth = "password",
        durable: bool = True,
        cached: bool = False,
        folder: Path | None = None,
    ) -> None:
        self._binaries = binaries or find_binaries()
        self._settings = DEFAULTS | ({} if durable else NOT_DURABLE) | dict(settings or {})
        settings_file(self._settings)
        self._auth = auth
        self._is_cached = cached
        self._folder = folder
        self._account = server_account()
        self._run: Path | None = None
        self._run_lock = -1
        self._postmaster: Postmaster | None = None
        self._port = 0
        self.password = secrets.token_urlsafe(24)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and remove it."""
        self.remove()

    @property
    def directory(self) -> Path:
        """Its folder: the log, the settings, and the directories `data` and `socket`.

        Raises:
            PgcastError: It was never started, or was removed.
        """
        if self._run is None:
            raise PgcastError("the cluster has no folder", hint="call start() first")
        return self._run

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The file that holds everything Postgres printed."""
        return self.directory / "log"

    @property
    def socket_directory(self) -> Path:
        """The directory of the unix socket, usable as a host."""
        return self.directory / "socket"

    @property
    def port(self) -> int:
        """The port, also part of the socket's name; the same across restarts."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None when it is not running."""
        return self._postmaster.pid if self._postmaster is not None and self._postmaster.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the postmaster is there."""
        return self.pid is not None

    def dsn(self, dbname: str = "postgres") -> str:
        """Return the URL of a database, through the unix socket."""
        host = quote(str(self.socket_directory), safe="")
        return f"postgresql://{USER}@/{quote(dbname, safe='')}?host={host}&port={self._port}"

    def tcp_dsn(self, dbname: str = "postgres") -> str:
        """Return the URL of a database, through loopback, with the password."""
        return f"postgresql://{USER}:{quote(self.password, safe='')}@{HOST}:{self._port}/{quote(dbname, safe='')}"

    def connect(self, dbname: str = "postgres") -> psycopg.Connection:
        """Return a connection in autocommit mode, as superuser."""
        return psycopg.connect(self.dsn(dbname), autocommit=True, connect_timeout=10)

    def start(self, *, deadline_s: float = _START_DEADLINE_S) -> None:
        """Start Postgres, and return when it takes connections; nothing happens if it is running.

        Raises:
            PgcastError: It does not start; the message ends with the last lines of its log.
        """
        if self.is_running:
            return
        if self._run is not None:
            self._start_on([self._port], deadline_s)
            return
        try:
            self._make()
            self._start_on([secrets.choice(_PORTS) for _ in range(_PORT_TRIES)], deadline_s)
            self._set_password()
        except BaseException:
            self.remove()
            raise

    def stop(self, mode: StopMode = "fast", *, deadline_s: float = _STOP_DEADLINE_S) -> None:
        """Stop Postgres, and return when it is gone; twice is safe.

        Args:
            mode: `fast` ends connections and writes everything out; `immediate` leaves that to the next start.
            deadline_s: When it has passed, harder ways are tried: an immediate shutdown, then SIGKILL.

        Raises:
            PgcastError: Even SIGKILL did not end it.
        """
        if self._postmaster is not None:
            self._postmaster.stop(mode, deadline_s=deadline_s)
            self._postmaster = None

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start again, on the same port.

        Raises:
            PgcastError: It does not stop or start.
        """
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """End Postgres with SIGKILL, its backends too, as a failure would; `start` recovers.

        Raises:
            PgcastError: It did not end.
        """
        if self._postmaster is not None:
            self._postmaster.kill()
            self._postmaster = None

    def remove(self) -> None:
        """Stop Postgres if it runs, and delete its folder; twice is safe.

        Raises:
            PgcastError: It does not end.
        """
        self.stop("immediate")
        if self._run is not None:
            delete_run(self._run)
            os.close(self._run_lock)
            self._run = None

    def log_tail(self) -> str:
        """Return the end of the log, in one line."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            return " | ".join(log.read().decode(errors="replace").splitlines()[-5:])

    def _make(self) -> None:
        folder = self._folder or own_folder()
        with locked(folder):
            remove_left_over_runs(folder)
            self._binaries = usable(self._binaries, folder, by_others=self._account is not None)
            cached = cached_data(self._binaries, self._account, folder) if self._is_cached else None
            run = make_run(folder)
            self._run_lock = _lock_of(run)
            self._run = run
            make_private(self.socket_directory, self._account)
            make_private(self.data, self._account)
            if cached is not None:
                copy_data(self._binaries, self._account, cached, self.data)
        if cached is None:
            make_data(self._binaries, self._account, self.data)
        method = "scram-sha-256" if self._auth == "password" else "trust"
        _write(run / "pg_hba.conf", hba_file(method))

    def _start_on(self, ports: Sequence[int], deadline_s: float) -> None:
        """Start on the first of these ports that is free."""
        ends = time.monotonic() + deadline_s
        for port in ports:
            self._port = port
            if self._try_start(ends):
                return
        raise PgcastError(f"Postgres finds no free port: {self.log_tail()}", hint=f"free port {self._port}")

    def _try_start(self, ends: float) -> bool:
        """Start the postmaster; False if it gave up because its port is taken."""
        run = self.directory
        socket = f'"{self.socket_directory}"'
        own: dict[str, Setting] = {
            "port": self._port,
            "unix_socket_directories": socket,
            "hba_file": str(run / "pg_hba.conf"),
        }
        text = f"include '{self.data}/postgresql.conf'\n" + settings_file(self._settings | own)
        _write(run / "postgresql.conf", text)
        program = [str(self._binaries.program("postgres")), "-D", str(self.data)]
        while True:
            remove_stale_pid_file(self.data)
            log_start = self.log.stat().st_size if self.log.exists() else 0
            self._postmaster = Postmaster(
                [*program, "-c", f"config_file={run / 'postgresql.conf'}"],
                account=self._account,
                environment=self._binaries.environment(),
                directory=run,
                log=self.log,
            )
            if self._is_ready_by(ends):
                return True
            printed = self.log.read_bytes()[log_start:]
            self.stop("immediate")
            # Backends of a killed postmaster need a moment to see that it is gone; until then their memory is in use.
            if b"still in use" not in printed or time.monotonic() > ends:
                break
            time.sleep(_POLL_S)
        if b"could not create any TCP/IP sockets" in printed:
            return False
        raise PgcastError(f"Postgres does not start: {self.log_tail()}")

    def _is_ready_by(self, ends: float) -> bool:
        while self.is_running and time.monotonic() < ends:
            found = read_pid_file(self.data)
            if found is not None and found.is_ready and found.pid == self.pid:
                return True
            time.sleep(_POLL_S)
        return False

    def _set_password(self) -> None:
        with self.connect() as connection:
            # Hashed here, so that the password is in no log of statements.
            secret = connection.pgconn.encrypt_password(self.password.encode(), USER.encode(), b"scram-sha-256")
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(USER), secret.decode())
            connection.execute(statement)


def _lock_of(run: Path) -> int:
    descriptor = claim_run(run)
    if descriptor is None:
        raise PgcastError(f"{run} was just made, and is locked by somebody else")
    return descriptor


def _write(path: Path, text: str) -> None:
    """Write a file that the server's account can read; it holds no secret."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
