"""What survives a restart of the server, in the folder PGCAST_STATE_DIR: one small file, replaced as a whole.

It holds the positions that clients have acknowledged, and the last change that the slot does not bring again. Without
it nothing is lost: clients that resume get all that the window holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import orjson

from pgcast.engine.floor import Floor
from pgcast.logs import get_logger
from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pgcast.engine.node import Node

log = get_logger(__name__)

_NAME = "pgcast-state.json"
_VERSION = 1
_WRITE_S = 1.0
_REPEAT_S = 60.0


class StateFile:
    """The file, read once and written now and then.

    Args:
        folder: PGCAST_STATE_DIR; made if it is not there.

    Raises:
        SettingsError: The folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise SettingsError(
                f"PGCAST_STATE_DIR: cannot write to {folder}: {error.strerror}",
                hint="PGCAST_STATE_DIR is a folder that pgcast may write to",
            ) from None

    def read(self) -> tuple[list[Any], Floor | None]:
        """Return the marks and the floor of the last run.

        Raises:
            ValueError: The file is damaged, or of another version.
        """
        try:
            found = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return [], None
        if not isinstance(found, dict) or found.get("version") != _VERSION or not isinstance(found.get("marks"), list):
            raise ValueError("not written by this version of pgcast")
        floor = found.get("floor")
        if not isinstance(floor, list) or tuple(map(type, floor)) != (str, int, int, int):
            raise ValueError("the floor is missing")
        return found["marks"], Floor(*floor)

    def write(self, marks: list[list[Any]], floor: Floor) -> None:
        """Replace the file; a crash leaves the old one or the new one.

        Raises:
            OSError: It cannot be written.
        """
        content = orjson.dumps({"version": _VERSION, "floor": list(astuple(floor)), "marks": marks})
        beside = self._path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)


class NodeState:
    """What the node remembers over a restart, read at once and written down while it runs."""

    def __init__(self, node: Node, folder: Path | None) -> None:
        self._node = node
        self._said_at_s = -_REPEAT_S
        self._file = None if folder is None else StateFile(folder)
        now_s = asyncio.get_running_loop().time()
        if self._file is None:
            node.memory.blank_until_s = now_s + node.memory.keep_s
            return
        try:
            marks, floor = self._file.read()
            node.pipeline.known_floor = floor
            node.memory.acknowledged.load(marks, now_s)
        except (OSError, ValueError) as error:
            log.warning(
                "the state of the last run cannot be used; clients resume from all that is held", error=str(error)
            )
            node.memory.blank_until_s = now_s + node.memory.keep_s

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Write it down every second while something changes, and once at the end."""
        if self._file is None:
            yield
            return
        writing = asyncio.create_task(self._write_for_ever(self._file))
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await self._write(self._file)

    async def _write_for_ever(self, file: StateFile) -> None:
        floor = None
        while True:
            await asyncio.sleep(_WRITE_S)
            if self._node.memory.acknowledged.is_changed or self._node.pipeline.floor() != floor:
                floor = self._node.pipeline.floor()
                await self._write(file)

    async def _write(self, file: StateFile) -> None:
        acknowledged = self._node.memory.acknowledged
        acknowledged.is_changed = False
        try:
            await asyncio.to_thread(file.write, acknowledged.dump(), self._node.pipeline.floor())
        except OSError as error:
            acknowledged.is_changed = True
            now_s = asyncio.get_running_loop().time()
            if now_s - self._said_at_s >= _REPEAT_S:
                self._said_at_s = now_s
                log.warning("the state could not be written; trying again", error=str(error))
