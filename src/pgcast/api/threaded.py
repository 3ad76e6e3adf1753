"""The same for programs without an event loop: a thread has one, and hands changes over in small batches."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pgcast.api.arguments import check_acknowledgement
from pgcast.api.changes import SyncChange
from pgcast.api.listening import (
    DEFAULT_EVENTS,
    DEFAULT_PUBLICATIONS,
    MAX_UNFINISHED,
    gap,
    listening,
)
from pgcast.model.errors import ConnectionFailed

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from pgcast.api.changes import Event
    from pgcast.api.inbox import Inbox
    from pgcast.engine.node import Node

_BATCH: Final = 256
_START_S: Final = 360.0
_STOP_S: Final = 10.0


class SyncChanges:
    """The changes, one by one, in commit order. For one thread at a time; `listen_sync` makes it.

    Iterating raises GapDetected where changes were lost: the slot had to be made anew. Iterate again to go on.
    """

    def __init__(self, worker: _Worker, *, is_manual: bool, max_unfinished: int) -> None:
        self._worker = worker
        self._is_manual = is_manual
        self._max_unfinished = max_unfinished
        self._batch: list[SyncChange] = []  # the next one last
        self._current: SyncChange | None = None
        self._waiting = threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SyncChange:
        if not self._waiting.acquire(blocking=False):
            raise RuntimeError("two threads read the same changes; open a listener for each, or hand changes on")
        try:
            if not self._is_manual and self._current is not None:
                self._current.is_done = True
                self._current = None
            if not self._batch:
                batch = self._worker.run(self._read)
                if batch is None:
                    raise StopIteration
                if not batch:
                    raise gap()
                batch.reverse()
                self._batch = batch
            change = self._current = self._batch.pop()
        finally:
            self._waiting.release()
        return change

    def acknowledged(self) -> None:
        """Look again at what is done; changes call it, on any thread."""
        if self._is_manual:
            self._worker.call(self._worker.inbox.wake)

    @property
    def slot_created(self) -> bool:
        """Whether the slot was made for this listener: what is in the tables already has to be read from them."""
        return self._worker.node.pipeline.slot_created

    async def _read(self) -> list[SyncChange] | None:
        """Return the changes that are there, at least one; none at a gap; None once it is closed."""
        inbox = self._worker.inbox
        room = _BATCH
        try:
            if self._is_manual:
                await inbox.wait_until(lambda: inbox.unfinished < self._max_unfinished)
                room = min(room, self._max_unfinished - inbox.unfinished)
            committed = await inbox.read()
        except StopAsyncIteration:
            return None
        batch: list[SyncChange] = []
        while committed is not None:
            change = SyncChange(committed, self)
            inbox.hand_over(change)
            batch.append(change)
            committed = inbox.read_now() if len(batch) < room else None
        return batch


@contextlib.contextmanager
def listen_sync(
    dsn: str,
    *,
    tables: str | Iterable[str] = "*",
    events: Iterable[Event] = DEFAULT_EVENTS,
    filter: str | None = None,  # noqa: A002 - as in the protocol
    slot: str | None = None,
    publications: Sequence[str] = DEFAULT_PUBLICATIONS,
    ack: Literal["auto", "manual"] = "auto",
    max_unacknowledged: int = MAX_UNFINISHED,
) -> Iterator[SyncChanges]:
    """Follow a database without an event loop; the arguments, promises and errors are those of `listen`.

    A thread of its own reads and keeps the connection alive, however long the program takes for a change.
    """
    check_acknowledgement(ack, max_unacknowledged)
    worker = _Worker(
        {
            "dsn": dsn,
            "tables": tables,
            "events": events,
            "filter": filter,
            "slot": slot,
            "publications": publications,
        }
    )
    worker.start()
    try:
        yield SyncChanges(worker, is_manual=ack == "manual", max_unfinished=max_unacknowledged)
    finally:
        worker.stop()


class _Worker:
    """A thread with an event loop, in which one listener runs.

    Args:
        arguments: Those of `listening`.
    """

    node: Node
    inbox: Inbox

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._is_ready = threading.Event()
        self._error: BaseException | None = None
        self._reading: concurrent.futures.Future[list[SyncChange] | None] | None = None
        self._thread = threading.Thread(target=self._main, name="pgcast", daemon=True)

    def start(self) -> None:
        """Return once the stream is open.

        Raises:
            PgcastError: It could not be opened.
        """
        self._thread.start()
        try:
            is_ready = self._is_ready.wait(_START_S)
        except BaseException:
            self.stop()
            raise
        if not is_ready:
            self.stop()
            raise ConnectionFailed(
                f"no replication stream within {_START_S:g} s", hint="pgcast doctor looks for the cause"
            )
        if self._error is not None:
            self._thread.join(_STOP_S)
            raise self._error

    def run(self, read: Callable[[], Coroutine[Any, Any, list[SyncChange] | None]]) -> list[SyncChange] | None:
        """Have the thread read, and return what comes of it; None where it has ended.

        Where a signal interrupts the wait, the next call returns what that one would have.
        """
        if self._reading is None:
            if self._error is not None:
                raise self._error
            if self._loop is None or self._loop.is_closed():
                return None
            self._reading = asyncio.run_coroutine_threadsafe(read(), self._loop)
        try:
            result = self._reading.result()
        except Exception:
            self._reading = None
            raise
        self._reading = None
        return result

    def call(self, what: Any) -> None:
        """Have the thread call something, soon; dropped when it has ended."""
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(what)

    def stop(self) -> None:
        """End the listener, confirm what was acknowledged, and end the thread; twice is safe."""
        self.call(self._stopping.set)
        self._thread.join(_STOP_S)

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                self._loop = runner.get_loop()
                runner.run(self._listen())
        except BaseException as error:  # noqa: BLE001 - raised on the other thread
            self._error = error
        finally:
            self._is_ready.set()

    async def _listen(self) -> None:
        work = asyncio.create_task(self._follow())
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not work.done():
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def _follow(self) -> None:
        async with listening(**self._arguments) as (self.node, self.inbox):
            self._is_ready.set()
            await asyncio.Event().wait()


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return None
    return uvloop.new_event_loop
