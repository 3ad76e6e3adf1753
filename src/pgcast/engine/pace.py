"""When a flush begins: at once after a quiet moment, otherwise a while after the last one *ended*.

That while is half as long as the last flush took, so that under load writing takes two thirds of a core at most, and
much shares one write per socket. A large tick does not wait: its writes cost no less later. A flush of many sockets is
cut into slices, so that reads, heartbeats and HTTP run in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pgcast.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

log = get_logger(__name__)

SLICE_SOCKETS: Final = 1000
"""After so many sockets a flush yields."""

LARGE_TICK_BYTES: Final = 32_000
"""A tick of this size does not wait."""

BROKE_OFF: Final = (1011, "internal error: messages for you were lost; reconnect")
"""How connections are closed that a flush which broke off may have left out: otherwise they would never know."""

_LEAST_GAP_S: Final = 0.0005


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
        self._is_wanted = self._is_urgent = False

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
            self._is_urgent |= at_once
            return
        if self._is_soon or (self._timer is not None and not at_once):
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._is_soon = at_once or loop.time() >= self._due_at_s
        self._timer = loop.call_soon(self._begin) if self._is_soon else loop.call_at(self._due_at_s, self._begin)

    def want_now(self, *, at_once: bool = False) -> None:
        """Flush in this very call if it may be, otherwise as soon as it may: for who has gathered a batch already."""
        if self._slices is None and (at_once or asyncio.get_running_loop().time() >= self._due_at_s):
            self._begin()
        else:
            self.want(at_once=at_once)

    def flush_now(self) -> None:
        """Flush in this very call, as far as one slice goes; nothing happens while a flush is being written."""
        if self._slices is None:
            self._begin()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_soon = self._is_wanted = self._is_urgent = False
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
            # It cannot be taken up again, but it must not be the last one: the server is sound otherwise.
            log.exception("a flush broke off")
        else:
            loop.call_soon(self._next_slice)
            return
        self._slices = None
        now_s = loop.time()
        self._due_at_s = now_s + min(max((now_s - self._began_at_s) / 2, _LEAST_GAP_S), self._gap_s)
        if self._is_wanted:
            self.want(at_once=self._is_urgent)
