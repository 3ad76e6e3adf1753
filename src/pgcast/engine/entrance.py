"""What a channel gets when it enters its room: stored broadcasts, and the word that those of the database flow."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pgcast.engine.database_broadcasts import broadcast_of
from pgcast.frames.broadcast import frame_of
from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgcast.channels.channel import Channel
    from pgcast.channels.effects import Effect
    from pgcast.channels.rights import Rights
    from pgcast.channels.session import Session
    from pgcast.engine.pipeline import Pipeline
    from pgcast.engine.replay import Replays
    from pgcast.frames.codec import Serializer

log = get_logger(__name__)

READY_S: Final = 60.0
"""For how long a client may wait for broadcasts from the database to flow."""

_NOT_READY: Final = "Replication connection was not established in time"


class Entrance:
    """One client's way into rooms.

    Args:
        session: Its protocol state.
        serializer: What it speaks.
        replays: Where stored broadcasts are asked for.
        pipeline: Whose stream brings those of the database.
        perform: Performs effects.
        write: Writes a frame.
    """

    def __init__(
        self,
        session: Session,
        serializer: Serializer,
        *,
        replays: Replays,
        pipeline: Pipeline,
        perform: Callable[[Iterable[Effect]], None],
        write: Callable[[bytes], None],
    ) -> None:
        self._session = session
        self._serializer = serializer
        self._replays = replays
        self._pipeline = pipeline
        self._perform = perform
        self._write = write
        self._replayed: dict[Channel, list[bytes]] = {}
        self._waiting: dict[Channel, asyncio.Task[None]] = {}

    async def prepare(self, channel: Channel, rights: Rights) -> str | None:
        """Ask for the stored broadcasts that a join wants.

        To be awaited as it is, and the join to be answered in the same turn of the loop: so none is left out between
        those that are stored and those that come live, and none comes twice.

        Returns:
            Why the join is refused; None if it is not.
        """
        if channel.replay is None:
            return None
        if not rights.read_broadcasts:
            return f"Unauthorized: You do not have permissions to read from this Channel topic: {channel.name}"
        try:
            messages = await self._replays.take(channel.name, channel.replay)
        except DatabaseError as error:
            log.warning("stored broadcasts cannot be replayed", error=error.message, hint=error.hint or None)
            return "UnableToReplayMessages: Realtime was unable to replay messages"
        frames = (
            frame_of(broadcast_of(message, is_replayed=True), channel.topic, self._serializer, channel.join_ref)
            for message in messages
        )
        self._replayed[channel] = [frame for frame in frames if frame is not None]
        return None

    def entered(self, channel: Channel) -> None:
        """Write what was asked for; the channel is in its room."""
        for frame in self._replayed.pop(channel, ()):
            self._write(frame)
        if not channel.wants_replication_ready:
            return
        if self._pipeline.opened.is_set():
            self._perform(self._session.replication_ready(channel))
            return
        task = asyncio.get_running_loop().create_task(self._wait(channel), name="replication ready")
        self._waiting[channel] = task
        task.add_done_callback(lambda _: self._waiting.pop(channel, None))

    def left(self, channel: Channel) -> None:
        """Forget a channel; twice is safe."""
        self._replayed.pop(channel, None)
        task = self._waiting.pop(channel, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def _wait(self, channel: Channel) -> None:
        try:
            async with asyncio.timeout(READY_S):
                await self._pipeline.opened.wait()
        except TimeoutError:
            self._perform(self._session.shut(channel, _NOT_READY))
        else:
            self._perform(self._session.replication_ready(channel))
