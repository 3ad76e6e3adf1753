"""Adapters in memory: what the engine is driven by where no socket is wanted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_LENGTHS = {126: 2, 127: 8}
_TEXT = 1
_BINARY = 2


class MemoryOutlet:
    """An outlet that keeps what it was given; it pauses when told to, or after so many bytes until it is drained."""

    def __init__(self, *, high_bytes: int | None = None) -> None:
        self.is_paused = False
        self.members = 0
        self.writes: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self._high_bytes = high_bytes
        self._buffered = 0

    def write(self, content: bytes) -> None:
        self.writes.append(content)
        self._buffered += len(content)
        if self._high_bytes is not None and self._buffered > self._high_bytes:
            self.is_paused = True

    def buffered_bytes(self) -> int:
        return self._buffered

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def drain(self) -> None:
        self._buffered = 0
        self.is_paused = False

    @property
    def messages(self) -> list[Any]:
        """All messages in order: texts parsed, binary ones as bytes."""
        return [
            json.loads(content) if opcode == _TEXT else content for opcode, content in frames_in(b"".join(self.writes))
        ]

    @property
    def positions(self) -> list[tuple[int, int]]:
        """(commit LSN, index) of each change that was delivered, in order; V2 frames."""
        found = []
        for message in self.messages:
            _, commit_lsn, index = message[4]["data"]["position"].split("-")
            found.append((int(commit_lsn, 16), int(index, 16)))
        return found


def frames_in(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the opcode and the content of each frame."""
    at = 0
    while at < len(stream):
        assert stream[at] in {0x80 | _TEXT, 0x80 | _BINARY}, "a whole frame"
        opcode, length = stream[at] & 0x0F, stream[at + 1]
        at += 2
        if length in _LENGTHS:
            size = _LENGTHS[length]
            length = int.from_bytes(stream[at : at + size], "big")
            at += size
        yield opcode, stream[at : at + length]
        at += length
