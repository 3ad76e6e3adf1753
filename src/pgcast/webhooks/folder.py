"""The folder of the spools: one server at a time, any number of commands that look."""

from __future__ import annotations

import asyncio
import fcntl
import os
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX: Final = ".sqlite"
_HINT: Final = "PGCAST_STATE_DIR is a folder that pgcast may write to, and that no other pgcast uses"
_BUSY_S: Final = 10.0
_LOOK_S: Final = 0.25


def make_folder(folder: Path) -> None:
    """Make the folder, readable by nobody else: what is in the database may be in it.

    Raises:
        SettingsError: It cannot be made, or not be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise SettingsError(
            f"PGCAST_STATE_DIR: webhooks need a folder for their spools, and {folder} cannot be written to: "
            f"{error.strerror}",
            hint=_HINT,
        ) from None


def spool_path(folder: Path, key: str) -> Path:
    """Return the file of an endpoint's spool."""
    return folder / f"{key}{SUFFIX}"


def spool_files(folder: Path) -> list[Path]:
    """Return the files of all spools; none if there is no folder.

    Raises:
        SettingsError: There is one that may not be looked into.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SettingsError(
            f"PGCAST_STATE_DIR: {folder} cannot be read: {error.strerror}",
            hint="the server's user may, and root",
        ) from None


class FolderLock:
    """Lets one server into the folder; the system gives it back when the process ends, however it ends.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this server is in."""
        return self._file is not None

    async def acquire(self, wait_s: float = _BUSY_S) -> None:
        """Get in; a predecessor that is about to leave is waited for.

        Raises:
            SettingsError: Another server stays in, or the lock cannot be written.
        """
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + wait_s
        while True:
            try:
                self._try()
            except BlockingIOError:
                if loop.time() > ends_s:
                    raise SettingsError(
                        f"PGCAST_STATE_DIR: another pgcast delivers the webhooks in {self._path.parent}", hint=_HINT
                    ) from None
            except OSError as error:
                raise SettingsError(
                    f"PGCAST_STATE_DIR: {self._path} cannot be written: {error.strerror}", hint=_HINT
                ) from None
            else:
                return
            await asyncio.sleep(_LOOK_S)

    def release(self) -> None:
        """Let others in; twice is safe."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _try(self) -> None:
        file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(file)
            raise
        self._file = file
