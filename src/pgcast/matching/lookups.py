"""Structures that find, for a value of one column, the conditions that may hold: at a cost that follows what they find.

    equality, `in`       a hash of keys
    lt, lte, gt, gte     sorted bounds; those with both bounds, levels of sorted intervals
    like 'abc%'          a hash of prefixes, looked up once for each length of prefix that there is

Items are whatever the index keeps, compared by identity.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")

_MAX_PREFIX = 32
_MANY = 64
_GROWTH = 4


class Bucket(dict[Any, dict[Item, None]]):
    """Items by key."""

    def put(self, key: object, item: Item) -> bool:
        """Add an item; say whether its key is new."""
        items = self.get(key)
        if items is None:
            self[key] = {item: None}
            return True
        items[item] = None
        return False

    def take(self, key: object, item: Item) -> bool:
        """Remove an item; say whether its key is gone."""
        items = self[key]
        del items[item]
        if not items:
            del self[key]
        return not items


class Bounds(Generic[Item]):
    """One-sided bounds of one operator, sorted.

    Args:
        operator: `lt`, `lte`, `gt` or `gte`.
    """

    __slots__ = ("_items", "_keys", "_new", "_operator")

    def __init__(self, operator: str) -> None:
        self._operator = operator
        self._items: Bucket[Item] = Bucket()
        self._keys: list[Any] = []
        self._new: list[Any] = []  # not yet sorted in

    def add(self, key: object, item: Item) -> None:
        """Add an item whose condition is `operator key`."""
        if self._items.put(key, item):
            self._new.append(key)

    def remove(self, key: object, item: Item) -> None:
        """Take it out again."""
        if self._items.take(key, item):
            self._sort()
            del self._keys[bisect_left(self._keys, key)]

    def find(self, key: Any) -> Iterable[Item]:
        """Return the items whose condition holds for a value with this key."""
        if self._new:
            self._sort()
        keys = self._keys
        if self._operator == "gt":
            held = keys[: bisect_left(keys, key)]
        elif self._operator == "gte":
            held = keys[: bisect_right(keys, key)]
        elif self._operator == "lt":
            held = keys[bisect_right(keys, key) :]
        else:
            held = keys[bisect_left(keys, key) :]
        return [item for one in held for item in self._items[one]]

    def _sort(self) -> None:
        if len(self._new) > _MANY:
            self._keys += self._new
            self._keys.sort()
        else:
            for key in self._new:
                insort(self._keys, key)
        self._new.clear()


class Prefixes(Generic[Item]):
    """Items by what a text must begin with."""

    __slots__ = ("_items", "_lengths")

    def __init__(self) -> None:
        self._items: Bucket[Item] = Bucket()
        self._lengths: dict[int, int] = {}

    def add(self, prefix: bytes, item: Item) -> None:
        """Add an item. Only the first bytes of a long prefix count: whoever finds it tests it."""
        prefix = prefix[:_MAX_PREFIX]
        if self._items.put(prefix, item):
            self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1

    def remove(self, prefix: bytes, item: Item) -> None:
        """Take it out again."""
        prefix = prefix[:_MAX_PREFIX]
        if self._items.take(prefix, item):
            self._lengths[len(prefix)] -= 1
            if not self._lengths[len(prefix)]:
                del self._lengths[len(prefix)]

    def find(self, text: bytes) -> Iterator[Item]:
        """Go through the items whose prefix a text begins with."""
        items = self._items
        for length in self._lengths:
            yield from items.get(text[:length], ())


class Intervals(Generic[Item]):
    """Intervals, both ends included, found by a point in them.

    New ones wait in a short list, which is searched as it is. When that is full it becomes a level: intervals sorted by
    their lower end, each part of them with its highest upper end. A level is made anew together with those that are not
    much larger, so there are few, and each interval is sorted in a few times in its life.
    """

    __slots__ = ("_ends", "_levels", "_new")

    def __init__(self) -> None:
        self._ends: dict[Item, tuple[Any, Any]] = {}
        self._levels: list[_Level[Item]] = []
        self._new: dict[Item, tuple[Any, Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._ends)

    def add(self, low: object, high: object, item: Item) -> None:
        """Add an item that holds from `low` to `high`; never again once it was removed."""
        self._ends[item] = self._new[item] = (low, high)

    def remove(self, item: Item) -> None:
        """Take it out again."""
        del self._ends[item]
        if self._new.pop(item, None) is None and 2 * len(self._ends) < sum(map(len, self._levels)):
            self._levels.clear()
            self._new = dict(self._ends)

    def find(self, point: Any) -> Iterator[Item]:
        """Go through the items whose interval contains a point."""
        if len(self._new) > _MANY:
            self._settle()
        for item, (low, high) in self._new.items():
            if low <= point <= high:
                yield item
        for level in self._levels:
            for item in level.find(point):
                if item in self._ends:  # one that was removed stays in its level for a while
                    yield item

    def _settle(self) -> None:
        merged = self._new
        while self._levels and len(self._levels[-1]) <= _GROWTH * len(merged):
            older = self._levels.pop()
            merged = {**{item: self._ends[item] for item in older.items if item in self._ends}, **merged}
        self._levels.append(_Level(merged))
        self._new = {}


class _Level(Generic[Item]):
    """Sorted intervals as a tree: the middle of a part is its root, and knows the highest end in the part."""

    __slots__ = ("_highest", "_highest_before", "_highs", "_lows", "items")

    def __init__(self, intervals: dict[Item, tuple[Any, Any]]) -> None:
        ordered = sorted(intervals.items(), key=lambda pair: pair[1][0])
        self.items = [item for item, _ in ordered]
        self._lows = [low for _, (low, _) in ordered]
        self._highs = [high for _, (_, high) in ordered]
        self._highest = list(self._highs)
        self._highest_before = list(accumulate(self._highs, max))
        self._build(0, len(ordered))

    def __len__(self) -> int:
        return len(self.items)

    def _build(self, begin: int, end: int) -> Any:
        middle = (begin + end) // 2
        highest = self._highs[middle]
        if begin < middle:
            highest = max(highest, self._build(begin, middle))
        if middle + 1 < end:
            highest = max(highest, self._build(middle + 1, end))
        self._highest[middle] = highest
        return highest

    def find(self, point: Any) -> Iterator[Item]:
        """Go through the items whose interval contains a point."""
        begun = bisect_right(self._lows, point)
        if not begun or self._highest_before[begun - 1] < point:
            return  # all that begin before the point end before it: so it is nearly always where they do not overlap
        parts = [(0, len(self._lows))]
        while parts:
            begin, end = parts.pop()
            middle = (begin + end) // 2
            if self._highest[middle] < point:
                continue
            if begin < middle:
                parts.append((begin, middle))
            if self._lows[middle] <= point:
                if self._highs[middle] >= point:
                    yield self.items[middle]
                if middle + 1 < end:
                    parts.append((middle + 1, end))
