"""Writes to a file descriptor that may block, such as a pipe whose reader pauses, without holding up the event loop.

The thread that writes is a daemon and takes no lock: if it hangs in a write for good, the process can end all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading


class Printer:
    """One writer. Belongs to the running loop; one `write` at a time.

    Args:
        descriptor: Where to write; not closed here.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="printer", daemon=True).start()

    async def write(self, content: bytes) -> None:
        """Write it all, and return when that is done. Cancelled, it may have been written in part.

        Raises:
            OSError: It cannot be written: BrokenPipeError where the reader has gone.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((content, done))
        await done

    def close(self) -> None:
        """Let the thread end, once it is done with what it was given; nothing waits for it."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            content, done = job
            failure: OSError | None = None
            try:
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_settle, done, failure)


def _settle(done: asyncio.Future[None], failure: OSError | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
