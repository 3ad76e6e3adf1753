"""How far one returning client has received: a mark for each of its channels, moved on by the pongs it sends.

Only connections with a resume identity have receipts. A ping carries a number; its pong says that everything written
before it has arrived, because WebSocket stacks answer by themselves and in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING

from pgcast.engine.acknowledged import Wanted
from pgcast.frames.websocket import ping_frame
from pgcast.model.lsn import Lsn
from pgcast.model.position import Position

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.channels.channel import Channel
    from pgcast.engine.acknowledged import Identity, Mark, Memory
    from pgcast.engine.groups import Member
    from pgcast.engine.hub import Hub
    from pgcast.engine.pipeline import Pipeline
    from pgcast.engine.ports import Outlet

_MAX_PINGS = 16
_MAX_DIGITS = 18


class Receipts:
    """One connection's.

    Args:
        identity: Who it is.
        outlet: Where its frames go.
        hub: What is written to it.
        pipeline: Knows the epoch of positions.
        memory: What the node remembers of clients.
    """

    __slots__ = (
        "_hub",
        "_identity",
        "_marks",
        "_memory",
        "_outlet",
        "_pinged",
        "_pings",
        "_pipeline",
        "_writes_before",
    )

    def __init__(self, identity: Identity, outlet: Outlet, hub: Hub, pipeline: Pipeline, memory: Memory) -> None:
        self._identity = identity
        self._outlet = outlet
        self._hub = hub
        self._pipeline = pipeline
        self._memory = memory
        self._marks: dict[Channel, Mark] = {}
        self._pinged: deque[tuple[int, list[tuple[Mark, Position]]]] | None = None  # a deque takes 600 bytes
        self._pings = 0
        self._writes_before = 0

    def start(self, channel: Channel, at: int) -> None:
        """Begin to keep a mark for a channel that is served from this change of the window on."""
        position = self._position_before(at)
        self._marks[channel] = self._memory.acknowledged.start(self._wanted(channel), position)

    def left(self, channel: Channel) -> None:
        """Keep the mark of a channel that has ended for a while; twice is safe."""
        mark = self._marks.pop(channel, None)
        if mark is not None:
            self._memory.acknowledged.gone(mark, asyncio.get_running_loop().time())

    def known_position(self, channel: Channel) -> str | None:
        """Return from where a channel goes on that says nothing of it itself; None for "from now on"."""
        memory = self._memory
        position = memory.acknowledged.find(self._wanted(channel))
        if position is None and asyncio.get_running_loop().time() < memory.blank_until_s:
            commit_lsn, index = self._hub.window.floor
            position = Position(self._pipeline.epoch, Lsn(commit_lsn), index)
        return None if position is None else str(position)

    def take_pong(self, data: bytes) -> None:
        """Take a pong: the client has received everything that was written before the ping it answers."""
        if not data.isdigit() or len(data) > _MAX_DIGITS or self._pinged is None:
            return
        number = int(data)
        while self._pinged and self._pinged[0][0] <= number:
            for mark, position in self._pinged.popleft()[1]:
                self._memory.acknowledged.advance(mark, position)

    def ping_if_due(self, members: Mapping[Channel, Member]) -> None:
        """Ask the client to acknowledge what was written to it since the last time; once a second."""
        if not self._marks or self._outlet.writes == self._writes_before:
            return
        if self._pinged is None:
            self._pinged = deque()
        if len(self._pinged) >= _MAX_PINGS:
            return
        positions: list[tuple[Mark, Position]] = []
        for channel, mark in self._marks.items():
            number = self._hub.written_at_least_to(members[channel])
            positions.append((mark, self._position_before(number)))
        self._pings += 1
        self._pinged.append((self._pings, positions))
        self._outlet.write(ping_frame(str(self._pings).encode()))
        self._writes_before = self._outlet.writes

    def _position_before(self, number: int) -> Position:
        commit_lsn, index = self._hub.window.place_before(number)
        return Position(self._pipeline.epoch, Lsn(commit_lsn), index)

    def _wanted(self, channel: Channel) -> Wanted:
        bindings = [
            (
                *(binding.event and binding.event.value, binding.schema, binding.table, binding.filter, binding.select),
                *((True,) if binding.leave else ()),
            )
            for binding in channel.bindings
        ]
        return Wanted(self._identity, channel.topic, fingerprint(repr((channel.legacy_topic, bindings))))


def fingerprint(text: str) -> str:
    """Return 16 hexadecimal digits that tell texts apart, the same in every run."""
    return blake2b(text.encode(), digest_size=8).hexdigest()
