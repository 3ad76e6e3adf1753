"""Fill a data directory: by initdb, or by a copy of what initdb made before."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from pgcast.devdb.binaries import is_complete, mark_complete
from pgcast.devdb.folder import make_private
from pgcast.devdb.launch import Account, command_line
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgcast.devdb.binaries import Binaries

USER = "postgres"

_DEADLINE_S = 120.0


def make_data(binaries: Binaries, account: Account | None, data: Path) -> None:
    """Run initdb on an empty directory; the cluster gets a system identifier of its own.

    Args:
        binaries: The programs.
        account: The server's account, to which the directory belongs; None for ourselves.
        data: The directory.

    Raises:
        PgcastError: initdb failed; the message ends with its last words.
    """
    # Without --no-sync it would wait for the disk, for the sake of a database that is still empty.
    options = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    _run([str(binaries.program("initdb")), "-D", str(data), *options], binaries, account)


def cached_data(binaries: Binaries, account: Account | None, folder: Path) -> Path:
    """Return a data directory to copy from, made by the first call for these programs and this account.

    Args:
        binaries: The programs.
        account: The server's account; None for ourselves.
        folder: Our own folder; the caller holds its lock.

    Raises:
        PgcastError: initdb failed.
    """
    uid = os.geteuid() if account is None else account.uid
    home = folder / f"template-{binaries.version()}-{binaries.fingerprint()}-{uid}"
    data = home / "data"
    if not is_complete(home):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        # Whatever the umask; `data` in it is private.
        home.chmod(0o755)
        make_private(data, account)
        make_data(binaries, account, data)
        mark_complete(home)
    return data


def copy_data(binaries: Binaries, account: Account | None, source: Path, target: Path) -> None:
    """Copy a data directory that no server uses into an empty directory.

    Args:
        binaries: The programs, for their environment.
        account: The server's account, to which both belong; None for ourselves.
        source: The directory to copy.
        target: The empty directory.

    Raises:
        PgcastError: It could not be copied.
    """
    _run(["/bin/cp", "-Rp", f"{source}/.", str(target)], binaries, account)


def _run(program: Sequence[str], binaries: Binaries, account: Account | None) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - initdb and cp
            command_line(program, account=account, environment=binaries.environment()),
            # initdb asks for its working directory, and ours may be closed to the account.
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PgcastError(f"{program[0]} took longer than {_DEADLINE_S:g} s") from error
    if done.returncode != 0:
        raise PgcastError(f"{program[0]} failed: {' | '.join(done.stderr.splitlines()[-5:])}")
