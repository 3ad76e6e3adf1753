"""Our own folder: one per Unix user, in a temporary directory, with everything that the embedded Postgres writes.

    <tmp>/pgcast-<uid>/
        programs-<hash>/    a copy of the programs, where the originals cannot be used
        template-<hash>/    the result of initdb, copied for each cluster
        run-<random>/       a cluster: settings, log, `data`, `socket`

Two users never meet, because the name carries the user id and a folder of somebody else's is not used. Two runs of one
user take turns by a lock on the folder. A run holds a lock on its own `run-` folder for as long as it lives, however it
ends; a `run-` folder without that lock was left by a run that was killed. Locks are flock(2) on the folders themselves,
which also keeps programs that tidy temporary directories away.

Postgres refuses to run as root. For root it runs as `nobody`, which owns `data` and `socket` and nothing else: root
never writes into a folder where somebody else could have laid a symbolic link. (An account without an entry in the user
database would be lonelier, but initdb wants an entry.)
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pgcast.devdb.binaries import others_can_reach
from pgcast.devdb.launch import Account
from pgcast.devdb.postmaster import stop_orphan
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN_PREFIX = "run-"

_LOCK_DEADLINE_S = 60.0
_LOCK_POLL_S = 0.02
# sun_path holds 108 bytes on Linux and 104 on macOS and BSD, the final zero included.
_SOCKET_PATH_LIMIT = 103
_LONGEST_BELOW = "/pgcast-4294967295/run-12345678/socket/.s.PGSQL.65535"


def server_account() -> Account | None:
    """Return the account that runs Postgres when we are root, else None: our own.

    Raises:
        PgcastError: The account has no entry in the user database, or we are root and there is no `nobody`.
    """
    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError:
            raise PgcastError(
                f"user id {os.geteuid()} has no entry in the user database, and Postgres' initdb insists on one",
                hint="add one to /etc/passwd, or run as another user",
            ) from None
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise PgcastError(
            "Postgres does not run as root, and this system has no user nobody to run it",
            hint="run as an ordinary user",
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def own_folder(parents: tuple[Path, ...] | None = None) -> Path:
    """Return our folder, made if it is missing.

    Args:
        parents: Where it may be, the best place first; the system's temporary directories if None.

    Raises:
        PgcastError: No place will do.
    """
    if parents is None:
        parents = tuple(dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))))  # noqa: S108 - ours, see `_claim`
    reasons = []
    for parent in parents:
        place = parent.resolve() / f"pgcast-{os.geteuid()}"
        reason = _objection(place.parent) or _claim(place)
        if reason is None:
            return place
        reasons.append(f"{place}: {reason}")
    raise PgcastError(
        f"no place for the embedded Postgres ({'; '.join(reasons)})",
        hint="set TMPDIR to a directory with a short path that is yours to write",
    )


@contextmanager
def locked(folder: Path, *, deadline_s: float = _LOCK_DEADLINE_S) -> Iterator[None]:
    """Hold the lock of our folder, which whoever adds to it or tidies it needs.

    Raises:
        PgcastError: Another run holds it for too long.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ends = time.monotonic() + deadline_s
        while not _try_lock(descriptor):
            if time.monotonic() > ends:
                raise PgcastError(f"another run holds {folder} for more than {deadline_s:g} s")
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def claim_run(run: Path) -> int | None:
    """Take the lock of a run's folder.

    Returns:
        A descriptor that holds it until it is closed, or None if the run is alive or gone.
    """
    try:
        descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Its owner has just removed it.
        return None
    if _try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def remove_left_over_runs(folder: Path) -> list[Path]:
    """Remove the runs whose owners were killed: stop a Postgres that still runs, and delete the folder.

    Args:
        folder: Our own folder; the caller holds its lock.

    Returns:
        The folders that were removed.

    Raises:
        PgcastError: A left-over Postgres does not end.
    """
    removed = []
    for run in sorted(folder.glob(f"{RUN_PREFIX}*")):
        descriptor = claim_run(run)
        if descriptor is None:
            continue
        try:
            stop_orphan(run / "data")
            delete_run(run)
        finally:
            os.close(descriptor)
        removed.append(run)
    return removed


def delete_run(run: Path) -> None:
    """Delete a run's folder; what a dying backend still writes there goes with the next call of somebody else's."""
    shutil.rmtree(run, ignore_errors=True)


def make_private(directory: Path, account: Account | None) -> None:
    """Make a directory that only the server's account may enter."""
    directory.mkdir(mode=0o700)
    if account is not None:
        os.chown(directory, account.uid, account.gid)


def make_run(folder: Path) -> Path:
    """Make the folder of a run, readable where Postgres runs as another account; it holds no secret."""
    run = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=folder))
    if os.geteuid() == 0:
        run.chmod(0o755)
    return run


def _objection(parent: Path) -> str | None:
    if len(os.fsencode(parent)) + len(_LONGEST_BELOW) > _SOCKET_PATH_LIMIT:
        return "the path of a socket would be too long"
    if not parent.is_dir():
        return "no such directory"
    if os.geteuid() == 0:
        if not others_can_reach(parent / "any"):
            return "only root can enter it"
        # macOS has no ST_NOEXEC.
        if os.statvfs(parent).f_flag & getattr(os, "ST_NOEXEC", 0):
            return "programs cannot be run from it"
    return None


def _claim(place: Path) -> str | None:
    """Make the folder; one that is there already must be ours alone, for others could have put it there."""
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        place.mkdir(mode=mode)
        place.chmod(mode)
    except FileExistsError:
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return "belongs to somebody else"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others can write to it"
    except OSError as error:
        return error.strerror or "cannot be made"
    return None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
