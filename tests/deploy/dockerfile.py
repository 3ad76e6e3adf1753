"""A Dockerfile read, and its build steps run without a container engine, below a folder in place of the image's root.

Knows what ours uses: one instruction a line (or joined by a backslash), COPY from the context or from an earlier stage.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fix_node import clean_environment
from pgcast.devdb.binaries import others_can_reach

STEP_S = 300


@dataclass
class Stage:
    """What one FROM begins."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [text for name, text in self.steps if name == instruction]

    def last(self, instruction: str) -> str:
        return self.all(instruction)[-1]

    def command(self, instruction: str) -> list[str]:
        """The words of an ENTRYPOINT or CMD, in the form of a JSON array: no shell between."""
        words: list[str] = json.loads(self.last(instruction))
        return words

    def variables(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for text in self.all("ENV") for pair in shlex.split(text))


def read_dockerfile(path: Path) -> list[Stage]:
    text = re.sub(r"\\\n\s*", "", path.read_text())
    stages: list[Stage] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        elif instruction != "ARG":
            stages[-1].steps.append((instruction, rest))
    return stages


def is_in_context(path: str, ignore: Path) -> bool:
    """Whether .dockerignore lets a path in: the last pattern that matches it, or a folder above it, decides."""
    parts = Path(path).parts
    above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    is_in = True
    for line in ignore.read_text().splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            bare = pattern.removeprefix("!").removeprefix("**/")
            names = parts if "**/" in pattern else above
            if any(fnmatch.fnmatch(name, bare) for name in names):
                is_in = pattern.startswith("!")
    return is_in


class Scratch:
    """A folder that stands for an image's root, in which a stage's steps are run."""

    def __init__(self, root: Path, context: Path) -> None:
        self.root = root
        self._context = context
        self._python, self.variables = self._base_python()

    def build(self, stage: Stage) -> None:
        """Run COPY and RUN in order. Nothing outside of the folder is written."""
        folder = self.root
        for instruction, text in stage.steps:
            if instruction == "WORKDIR":
                folder = self.path(text)
                folder.mkdir(parents=True)
            elif instruction == "COPY":
                self._copy(shlex.split(text), folder)
            elif instruction == "RUN":
                self._run(shlex.split(text), folder)

    def path(self, text: str) -> Path:
        return self.root / text.lstrip("/")

    def open_to_all(self) -> None:
        """Let everybody read, and nobody write but the owner, as in an image."""
        for path in (self.root, *self.root.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod((mode | (0o555 if mode & 0o100 else 0o444)) & ~0o022)

    def _copy(self, words: list[str], folder: Path) -> None:
        *sources, target = words
        for source in sources:
            assert is_in_context(source, self._context / ".dockerignore"), f"{source} is ignored"
            found, place = self._context / source, folder / target
            if found.is_dir():
                shutil.copytree(found, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(found, place)

    def _run(self, words: list[str], folder: Path) -> None:
        # Absolute paths are those of the image; its python is ours.
        words = [str(self._python) if word == "python" else word for word in words]
        words = [str(self.path(word)) if word.startswith("/opt/") else word for word in words]
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        environment = {**clean_environment(), **kept, **self.variables}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=STEP_S, check=False
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"

    def _base_python(self) -> tuple[Path, dict[str, str]]:
        """An interpreter that everybody can reach: ours, or a copy of it where it lies in somebody's home."""
        interpreter = Path(sys.base_prefix) / "bin/python3"
        if others_can_reach(interpreter.resolve()):
            return interpreter, {}
        prefix, copied = Path(sys.base_prefix).resolve(), self.root / "usr/python"
        left_out = shutil.ignore_patterns("include", "share", "*.a", "__pycache__", "site-packages", "test", "config-*")
        shutil.copytree(prefix, copied, symlinks=True, ignore=left_out)
        return copied / "bin/python3", {"LD_LIBRARY_PATH": str(copied / "lib")}
