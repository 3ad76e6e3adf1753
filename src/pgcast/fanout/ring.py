"""A group's recent ticks, for the readers that are slower than the stream.

A tick is what one flush wrote to every level member of a group. Members that could not take it keep a cursor, the
number of the next tick they need. Ticks are numbered from 0 for the life of the group; the ring
holds the newest of them, and only while somebody is behind.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from pgcast.fanout.tick import Tick

_SLACK = 1000


class RingBudget:
    """One bound for all rings of a node together: over it, the oldest ticks go first, whosever they are.

    Args:
        limit_bytes: How much all rings may hold.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._order: deque[tuple[Ring, int]] = deque()
        self._held = 0  # how many of those are still held
        self.total_bytes = 0

    def took(self, ring: Ring, tick: Tick) -> None:
        """Count a tick that a ring has taken, and make room if all rings together are over the limit."""
        self.total_bytes += tick.size_bytes
        self._held += 1
        order = self._order
        order.append((ring, tick.number))
        if len(order) > 2 * self._held + _SLACK:
            # Behind a tick that somebody needs for long, those that nobody needs any more would pile up.
            order = self._order = deque(one for one in order if one[0].holds(one[1]))
        while order and (self.total_bytes > self._limit_bytes or not order[0][0].holds(order[0][1])):
            oldest, number = order.popleft()
            if oldest.holds(number):
                oldest.drop_through(number)

    def freed(self, size_bytes: int, count: int) -> None:
        """Count the ticks that a ring has dropped."""
        self.total_bytes -= size_bytes
        self._held -= count


class Ring:
    """The newest ticks of one group, at most `limit_bytes` of them (but always the newest one).

    Args:
        limit_bytes: How much to hold.
        budget: Shared by all rings of the node.
    """

    __slots__ = ("_budget", "_limit_bytes", "_ticks", "next_number", "size_bytes")

    def __init__(self, limit_bytes: int, budget: RingBudget) -> None:
        self._limit_bytes = limit_bytes
        self._budget = budget
        self._ticks: deque[Tick] = deque()
        self.next_number = 0
        self.size_bytes = 0

    @property
    def first_number(self) -> int:
        """The number of the oldest tick that is held; `next_number` when none is."""
        return self._ticks[0].number if self._ticks else self.next_number

    def append(self, pieces: tuple[bytes, ...], window_start: int, window_end: int) -> Tick:
        """Number a new tick and hold it; the oldest go while the ring is over its limit."""
        tick = Tick(self.next_number, pieces, sum(map(len, pieces)), window_start, window_end)
        self.next_number += 1
        self._ticks.append(tick)
        self.size_bytes += tick.size_bytes
        while self.size_bytes > self._limit_bytes and len(self._ticks) > 1:
            self._drop_first()
        self._budget.took(self, tick)
        return tick

    def holds(self, number: int) -> bool:
        """Say whether a reader whose next tick is `number` can be served from here."""
        return number >= self.first_number

    def since(self, number: int, limit_bytes: int) -> list[Tick]:
        """Return the ticks from `number` on, in order: as many as fit into the limit, but at least one if there is one.

        Raises:
            LookupError: The tick has been dropped; ask `holds` first.
        """
        if not self.holds(number):
            raise LookupError(f"tick {number} is gone; the oldest held is {self.first_number}")
        taken: list[Tick] = []
        size = 0
        for tick in islice(self._ticks, number - self.first_number, None):
            size += tick.size_bytes
            if taken and size > limit_bytes:
                break
            taken.append(tick)
        return taken

    def drop_through(self, number: int) -> None:
        """Drop the ticks up to and including `number`."""
        while self._ticks and self._ticks[0].number <= number:
            self._drop_first()

    def clear(self) -> None:
        """Drop everything; the numbering goes on."""
        self._budget.freed(self.size_bytes, len(self._ticks))
        self._ticks.clear()
        self.size_bytes = 0

    def _drop_first(self) -> None:
        size = self._ticks.popleft().size_bytes
        self.size_bytes -= size
        self._budget.freed(size, 1)
