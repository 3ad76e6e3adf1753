"""When what was published is written: at once after a quiet moment, otherwise a while after the last flush ended.

As in the flusher of changes, that while is half as long as the flush took, and a large tick does not wait. A flush of
many sockets is cut into slices, so that reads, heartbeats and HTTP run in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

log = structlog.get_logger()

_LEAST_GAP_S = 0.0005


class Pace:
    """Runs flushes, one at a time.

    Args:
        flush: Begins a flush when it is called, and yields between its slices.
        gap_s: How long after the end of a flush the next one may have to wait, at most.
    """

    def __init__(self, flush: Callable[[], Generator[None]], *, gap_s: float) -> None:
        self._flush = flush
        self._gap_s = gap_s
        self._due_at_s = 0.0
        self._began_at_s = 0.0
        self._timer: asyncio.Handle | None = None
        self._is_soon = False
        self._slices: Generator[None] | None = None
        self._is_wanted = False

    @property
    def is_writing(self) -> bool:
        """Whether a flush is between two of its slices."""
        return self._slices is not None

    def want(self, *, at_once: bool = False) -> None:
        """Flush as soon as that may be, and never before the caller's own turn of the loop is over.

        Args:
            at_once: Do not wait for the gap to pass: much is pending.
        """
        if self._slices is not None:
            self._is_wanted = True
            return
        if self._is_soon or (self._timer is not None and not at_once):
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._is_soon = at_once or loop.time() >= self._due_at_s
        self._timer = loop.call_soon(self._begin) if self._is_soon else loop.call_at(self._due_at_s, self._begin)

    def flush_now(self) -> None:
        """Flush in this very call, as far as one slice goes; nothing happens while a flush is being written."""
        if self._slices is None:
            self._begin()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_soon = self._is_wanted = False
        self._began_at_s = asyncio.get_running_loop().time()
        self._slices = self._flush()
        self._next_slice()

    def _next_slice(self) -> None:
        if self._slices is None:
            return
        loop = asyncio.get_running_loop()
        try:
            next(self._slices)
        except StopIteration:
            pass
        except Exception:
            log.exception("a flush broke off")
        else:
            loop.call_soon(self._next_slice)
            return
        self._slices = None
        now_s = loop.time()
        self._due_at_s = now_s + min(max((now_s - self._began_at_s) / 2, _LEAST_GAP_S), self._gap_s)
        if self._is_wanted:
            self.want()
