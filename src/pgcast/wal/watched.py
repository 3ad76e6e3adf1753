"""A row reader around another one, whose inserts somebody watches for; the rows of all other tables cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgcast.wal.messages import Watched

if TYPE_CHECKING:
    from pgcast.model.change import Change
    from pgcast.wal.messages import RowReader


class WatchedReader:
    """Reads as another reader does, and calls the inserts watched.

    Args:
        reader: The relation's own; its inserts are not watched yet.
    """

    __slots__ = ("_reader",)

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader

    def insert(self, data: bytes, at: int) -> Change | Watched:
        """Read the tuple of an Insert."""
        change = self._reader.insert(data, at)
        return change if isinstance(change, Watched) else Watched(change)

    def update(self, data: bytes, at: int) -> Change:
        """Read an Update."""
        return self._reader.update(data, at)

    def delete(self, data: bytes, at: int) -> Change:
        """Read a Delete."""
        return self._reader.delete(data, at)

    def truncate(self) -> Change:
        """Make the change of a Truncate that names this relation."""
        return self._reader.truncate()
