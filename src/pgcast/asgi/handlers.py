"""Handlers: functions of the application that carries the server, called for each change that they want.

Each has an inbox and a task of its own, so that one that fails or is slow concerns nobody else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.api import PlainChange
from pgcast.api.inbox import Inbox
from pgcast.api.wishes import entries_for
from pgcast.logs import get_logger
from pgcast.model.errors import BindingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pgcast.engine.node import Node
    from pgcast.engine.ports import Catalog
    from pgcast.matching.index import Entry
    from pgcast.model.change import Change, Kind
    from pgcast.model.snapshot import Snapshot

    Function = Callable[[PlainChange], Awaitable[None]]
    WhenGap = Callable[[], Awaitable[None]]

log = get_logger(__name__)

_STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ChangeHandler:
    """A function, and what it wants.

    Attributes:
        function: Called for each change, one at a time.
        tables: As in `listen`.
        kinds: Which changes.
        filter: As in `listen`.
        when_gap: Called where changes were passed over; None: it is only logged.
    """

    function: Function
    tables: Sequence[str]
    kinds: frozenset[Kind]
    filter: str | None
    when_gap: WhenGap | None

    @property
    def name(self) -> str:
        """The function's name, for the log."""
        return getattr(self.function, "__qualname__", repr(self.function))


class Handling:
    """A handler at work.

    Args:
        handler: The handler.
        node: Whose changes.
        inbox: Where they wait.
    """

    def __init__(self, handler: ChangeHandler, node: Node, inbox: Inbox) -> None:
        self._handler = handler
        self._node = node
        self._inbox = inbox
        self._task = asyncio.create_task(self._run(), name=f"handler {handler.name}")

    async def stop(self) -> None:
        """End; a call that is under way is cancelled, and waited for, but not for ever. Twice is safe."""
        self._node.hub.sinks.remove(self._inbox)
        # Closed first: a function that swallows its cancellation comes back for the next change.
        await self._inbox.close()
        self._task.cancel()
        _, unfinished = await asyncio.wait({self._task}, timeout=_STOP_S)
        if unfinished:
            log.warning("a handler does not end, and is left behind", waited_s=_STOP_S, **self._words())

    async def _run(self) -> None:
        while True:
            try:
                change = await self._inbox.read()
            except StopAsyncIteration:
                return
            try:
                if change is not None:
                    await self._handler.function(PlainChange(change))
                else:
                    log.warning("changes were passed over: a handler was too slow, or the slot lost", **self._words())
                    if self._handler.when_gap is not None:
                        await self._handler.when_gap()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody ends this task: something that the function waited for was cancelled.
                log.warning("a handler was cancelled", **self._words())
            except Exception:
                log.exception("a handler failed", **self._words())

    def _words(self) -> dict[str, str]:
        return {"handler": self._handler.name}


async def begin(handler: ChangeHandler, node: Node, catalog: Catalog, publications: Sequence[str]) -> Handling:
    """Have a handler called for all that commits from now on, exactly.

    Raises:
        BindingError: What it wants cannot be served.
        DatabaseError: The database could not be asked.
    """
    try:
        entries = await entries_for(
            catalog, publications, tables=handler.tables, kinds=handler.kinds, filter=handler.filter
        )
    except BindingError as error:
        raise BindingError(f"handler {handler.name}: {error.message}", hint=error.hint) from None
    snapshot = await catalog.snapshot()
    # From here on in one turn of the loop: what was read already, then all that follows.
    sinks, window = node.hub.sinks, node.hub.window
    inbox = _Inbox(snapshot, entries, catalog, when_room=sinks.note_room)
    first = window.first_unseen(snapshot)
    for change in window.changes_from(first, window.end - first):
        if any(entry.wants(change) for entry in inbox.entries):
            inbox.take(change, ())
    sinks.add(inbox)
    return Handling(handler, node, inbox)


class _Inbox(Inbox):
    """An inbox without the past: a restarted server reads some WAL again."""

    def __init__(
        self, snapshot: Snapshot, entries: Sequence[Entry], catalog: Catalog, *, when_room: Callable[[], None]
    ) -> None:
        super().__init__(entries, catalog, keeps_all=False, when_room=when_room)
        self._snapshot: Snapshot | None = snapshot

    def take(self, change: Change, ids: tuple[int, ...]) -> None:
        transaction, seen = change.transaction, self._snapshot
        if seen is None or transaction.commit_lsn >= seen.insert_lsn or not seen.sees(transaction.xid):
            super().take(change, ids)

    def lost(self) -> None:
        # Perhaps another database, of which the snapshot knows nothing.
        self._snapshot = None
        super().lost()
