"""What the database has for the members of topics, read from the same stream as the changes, and handed on.

Two ways lead here: a row inserted into `realtime.messages`, and a message written with `pg_logical_emit_message`. Both
are handed on in commit order. One that cannot be delivered is dropped, with a line in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from pgcast.changes.stored import read_content, read_row
from pgcast.frames.broadcast import Broadcast
from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError, WireError
from pgcast.model.messages import MESSAGE_PREFIX, MESSAGES_SCHEMA, MESSAGES_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgcast.engine.relays import Relays
    from pgcast.model.change import Change
    from pgcast.model.messages import DatabaseMessage
    from pgcast.model.snapshot import Snapshot

log = get_logger(__name__)

_COLLECTED: Final = 1000
_COLLECTED_BYTES: Final = 16 << 20
_RECENT: Final = 500
_RECENT_BYTES: Final = 4 << 20
_RECENT_S: Final = 5.0
_LOG_GAP_S: Final = 1.0


def broadcast_of(message: DatabaseMessage, *, is_replayed: bool = False) -> Broadcast:
    """Return what the members of the topic get."""
    is_json = message.payload is not None
    data = message.raw if message.payload is None else message.payload
    return Broadcast(message.event, data or b"", is_json, message.id, is_replayed)


class DatabaseBroadcasts:
    """Hands on what the database has for the members of topics.

    Args:
        relays: Where it comes from.
        deliver: Where it goes.
        max_payload_bytes: What is longer is dropped: the JSON text, or the raw bytes; 0 for no limit.

    Attributes:
        delivered: How many messages were handed on.
        dropped: How many could not be.
    """

    def __init__(self, relays: Relays, deliver: Callable[[DatabaseMessage], None], *, max_payload_bytes: int) -> None:
        self.delivered = 0
        self.dropped = 0
        self._deliver = deliver
        self._max_payload_bytes = max_payload_bytes
        self._collections: dict[str, dict[Collection, None]] = {}
        self._recent: deque[tuple[DatabaseMessage, int, float]] = deque()
        self._recent_bytes = 0
        self._logged_at_s = float("-inf")
        self._loop = asyncio.get_running_loop()
        relays.on_insert[MESSAGES_SCHEMA, MESSAGES_TABLE] = self._take_row
        relays.on_message[MESSAGE_PREFIX] = self._take_content

    @contextlib.contextmanager
    def collecting(self, topic: str) -> Iterator[Collection]:
        """Collect what is handed on, meanwhile, for the private channels of a topic.

        What was handed on a moment before is in it, too: a commit may be read from the WAL before anybody can see it.
        """
        collection = Collection()
        for message, xid, _ in self._recent:
            if message.topic == topic:
                collection.add(message, xid)
        self._collections.setdefault(topic, {})[collection] = None
        try:
            yield collection
        finally:
            collections = self._collections[topic]
            del collections[collection]
            if not collections:
                del self._collections[topic]

    def _take_row(self, change: Change) -> None:
        try:
            message = read_row(change)
            if message is not None:
                self._hand_on(message, change.transaction.xid)
        except WireError as error:
            self._drop("realtime.messages", error)

    def _take_content(self, content: bytes, xid: int | None) -> None:
        try:
            self._hand_on(read_content(content), xid)
        except WireError as error:
            self._drop(MESSAGE_PREFIX, error)

    def _hand_on(self, message: DatabaseMessage, xid: int | None) -> None:
        if 0 < self._max_payload_bytes < message.size_bytes:
            raise WireError(
                f"the payload has {message.size_bytes} bytes, and {self._max_payload_bytes} are the limit",
                hint="PGCAST_MAX_PAYLOAD_KB says how much a message may carry",
            )
        self.delivered += 1
        self._deliver(message)
        if message.is_private:
            for collection in self._collections.get(message.topic, ()):
                collection.add(message, xid)
            if xid is not None:
                self._remember(message, xid)

    def _remember(self, message: DatabaseMessage, xid: int) -> None:
        now_s = self._loop.time()
        recent = self._recent
        recent.append((message, xid, now_s))
        self._recent_bytes += message.size_bytes
        # The last one always stays: without a limit of ours it may be longer than all that is kept.
        while len(recent) > 1 and (
            len(recent) > _RECENT or self._recent_bytes > _RECENT_BYTES or recent[0][2] < now_s - _RECENT_S
        ):
            self._recent_bytes -= recent.popleft()[0].size_bytes

    def _drop(self, origin: str, error: WireError) -> None:
        """Count a message that cannot be delivered, and say so, once a second at most."""
        self.dropped += 1
        now_s = self._loop.time()
        if now_s - self._logged_at_s >= _LOG_GAP_S:
            self._logged_at_s = now_s
            log.warning(
                "a broadcast from the database is dropped",
                origin=origin,
                reason=error.message,
                hint=error.hint or None,
                dropped=self.dropped,
            )


class Collection:
    """What was handed on for one topic while somebody was joining it."""

    def __init__(self) -> None:
        self._messages: list[tuple[DatabaseMessage, int | None]] = []
        self._size_bytes = 0

    def add(self, message: DatabaseMessage, xid: int | None) -> None:
        """Note a message, as long as there is room; one too many is noted as such.

        Args:
            message: The message.
            xid: The transaction that it belongs to, if it belongs to one.
        """
        self._size_bytes += message.size_bytes
        if len(self._messages) <= _COLLECTED and self._size_bytes <= _COLLECTED_BYTES:
            self._messages.append((message, xid))

    def unseen_by(self, snapshot: Snapshot) -> list[DatabaseMessage]:
        """Return those that a question with this snapshot could not see, in order.

        Raises:
            DatabaseError: There were too many to keep them all.
        """
        if len(self._messages) > _COLLECTED or self._size_bytes > _COLLECTED_BYTES:
            raise DatabaseError("more messages arrived during a join than are kept for it")
        return [message for message, xid in self._messages if xid is None or not snapshot.sees(xid)]
