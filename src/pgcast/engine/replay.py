"""Stored messages for one who joins a topic: the newest ones, each once, with no gap before those that come live.

A message may be on its way while the table is asked. So the live ones are collected from a while before the question
on, and the answer counts only once the stream has come as far as the table was when it was asked: then nothing of the
answer can still come live, and what was handed on meanwhile follows it, as far as the question could not see it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pgcast.engine.pulse import Pulse
from pgcast.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.engine.database_broadcasts import DatabaseBroadcasts
    from pgcast.engine.pipeline import Pipeline
    from pgcast.engine.ports import MessageStore
    from pgcast.frames.payloads import Replay
    from pgcast.model.lsn import Lsn
    from pgcast.model.messages import DatabaseMessage

log = get_logger(__name__)

_WAIT_S: Final = 1.0
_POLL_S: Final = 0.01


class Replays:
    """Asks for stored messages on behalf of those who join.

    Args:
        store: Where they are stored.
        broadcasts: Where they come live.
        pipeline: Whose stream brings them.
        passed_lsn: Returns how far the stream has come: everything that commits below has been handed on.
    """

    def __init__(
        self, store: MessageStore, broadcasts: DatabaseBroadcasts, pipeline: Pipeline, passed_lsn: Callable[[], Lsn]
    ) -> None:
        self._store = store
        self._broadcasts = broadcasts
        self._asking = Pulse(pipeline.ask_for_progress, _POLL_S)  # one for all who wait
        self._passed_lsn = passed_lsn

    async def take(self, topic: str, wish: Replay) -> list[DatabaseMessage]:
        """Return what to send to one who joins, oldest first.

        To be awaited as it is, not in a task of its own: whoever joins must be a member in the same turn of the loop.

        Args:
            topic: Without `realtime:`; its private channels are meant.
            wish: How much.

        Raises:
            DatabaseError: The database could not be asked, or more came meanwhile than can be kept.
        """
        with self._broadcasts.collecting(topic) as collection:
            stored, snapshot = await self._store.recent(topic, wish.since_ms, wish.limit)
            await self._wait_for_stream(snapshot.insert_lsn)
            return stored + collection.unseen_by(snapshot)

    async def _wait_for_stream(self, lsn: Lsn) -> None:
        """Wait until the stream has passed a place; not for long: then something may come twice."""
        ends_s = asyncio.get_running_loop().time() + _WAIT_S
        while self._passed_lsn() < lsn:
            if asyncio.get_running_loop().time() > ends_s:
                log.info("a replay does not wait for the stream any longer; some of it may come twice")
                return
            self._asking.want()
            await asyncio.sleep(_POLL_S)
