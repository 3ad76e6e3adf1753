"""By which of its conditions a filter is found, and the lookups of one column of one type that find it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pgcast.matching.conditions import RANGES, Condition, Junction, question_of
from pgcast.matching.likes import like_prefix
from pgcast.matching.lookups import Bounds, Bucket, Intervals, Prefixes
from pgcast.matching.predicates import equality_key, order_key, same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgcast.matching.conditions import Part
    from pgcast.matching.predicates import KeyFunction
    from pgcast.model.relation import TypeShape

Item = TypeVar("Item")

_LOWER: Final = frozenset({"gt", "gte"})

# An interval's ends are keys with what is left out of it: a value with key k is at (k, 0).
_SIDES: Final = {"gt": 1, "gte": 0, "lte": 0, "lt": -1}


@dataclass(frozen=True, slots=True)
class Access:
    """The conditions of a filter by which it is looked up: one, or a lower and an upper bound.

    Attributes:
        column: The column they are on.
        conditions: They.
        is_exact: Whether they are the whole filter, so that what the lookup finds needs no test.
    """

    column: str
    conditions: tuple[Condition, ...]
    is_exact: bool

    @property
    def shareable(self) -> Condition | None:
        """The equality that filters which differ otherwise may be found by as well; None if it is none."""
        first = self.conditions[0]
        return None if self.is_exact or first.operator != "eq" else first


def access_of(parts: Sequence[Part], shared: Callable[[Condition], int] | None = None) -> Access | None:
    """Choose by which conditions a filter is looked up: those that most likely exclude most rows.

    Args:
        parts: All must hold.
        shared: Says how many others are found by a condition already: of several equalities, the one that fewest share
            is taken.
    """
    parts = list(_flat(parts))
    usable = [part for part in parts if isinstance(part, Condition) and not part.is_negated and not part.path]
    equalities = [part for part in usable if part.operator == "eq"]
    if equalities:
        part = equalities[0] if shared is None or len(equalities) == 1 else min(equalities, key=shared)
        return Access(part.column, (part,), is_exact=len(parts) == 1)
    for operators in ({"in"}, {"like"}):
        for part in usable:
            if part.operator in operators and (part.operator != "like" or like_prefix(part.operands[0] or "")):
                return Access(part.column, (part,), is_exact=len(parts) == 1 and part.operator != "like")
    ranges = [part for part in usable if part.operator in RANGES]
    for lower in ranges:
        for upper in ranges:
            if lower.column == upper.column and lower.operator in _LOWER and upper.operator not in _LOWER:
                return Access(lower.column, (lower, upper), is_exact=len(parts) == 2)
    for part in ranges:
        return Access(part.column, (part,), is_exact=len(parts) == 1)
    return None


def _flat(parts: Sequence[Part]) -> Iterator[Part]:
    """Go through what must hold, an `and` group being no more than its parts."""
    for part in parts:
        if isinstance(part, Junction) and not part.is_negated and (not part.is_any or len(part.parts) == 1):
            yield from _flat(part.parts)
        else:
            yield part


class Keyed(Generic[Item]):
    """The lookups for one column's values, which have one type.

    Attributes:
        unkeyed: What cannot be looked up in this type, and has to be tested as a whole.
    """

    __slots__ = ("_bounds", "_equal", "_equality", "_intervals", "_order", "_prefixes", "_shape", "unkeyed")

    def __init__(self, shape: TypeShape) -> None:
        self._shape = shape
        self._equality = equality_key(shape)
        self._order = order_key(shape)
        self._equal: Bucket[Item] = Bucket()
        self._bounds: dict[str, Bounds[Item]] = {}
        self._intervals: Intervals[Item] = Intervals()
        self._prefixes: Prefixes[Item] | None = None
        self.unkeyed: dict[Item, None] = {}

    def add(self, item: Item, access: Access) -> None:
        """Add what is looked up by these conditions."""
        operator, keys = self._keys(access)
        if operator in {"eq", "in"}:
            for key in keys:
                self._equal.put(key, item)
        elif operator == "like":
            if self._prefixes is None:
                self._prefixes = Prefixes()
            self._prefixes.add(keys[0], item)
        elif operator == "between":
            self._intervals.add(keys[0], keys[1], item)
        elif operator:
            bounds = self._bounds.get(operator)
            if bounds is None:
                bounds = self._bounds[operator] = Bounds(operator)
            bounds.add(keys[0], item)
        else:
            self.unkeyed[item] = None

    def remove(self, item: Item, access: Access) -> None:
        """Take it out again."""
        operator, keys = self._keys(access)
        if operator in {"eq", "in"}:
            for key in keys:
                self._equal.take(key, item)
        elif operator == "like" and self._prefixes is not None:
            self._prefixes.remove(keys[0], item)
        elif operator == "between":
            self._intervals.remove(item)
        elif operator:
            self._bounds[operator].remove(keys[0], item)
        else:
            del self.unkeyed[item]

    # fast path: per change and column
    def find(self, value: bytes) -> Sequence[Item]:
        """Return what may want a row with this value; besides `unkeyed`, which may want any."""
        found: list[Item] = []
        try:
            if self._equal and self._equality is not None:
                key = value if self._equality is same else self._equality(value)
                items = self._equal.get(key)
                if items:
                    found += items
            if self._prefixes is not None:
                found += self._prefixes.find(value)
            if (self._bounds or self._intervals) and self._order is not None:
                key = self._order(value)
                for bounds in self._bounds.values():
                    found += bounds.find(key)
                if self._intervals:
                    found += self._intervals.find((key, 0))
        except ValueError:
            return found  # no text of this type: nothing can be equal to it, or less
        return found

    def _keys(self, access: Access) -> tuple[str, list[Any]]:
        """Return under what to keep it; no operator and no keys where only a test can tell."""
        conditions = access.conditions
        operator = conditions[0].operator
        try:
            if any(question_of(condition, self._shape) is not None for condition in conditions):
                return "", []
            if operator == "like":
                return operator, [like_prefix(conditions[0].operands[0] or "")]
            key_of = self._order if operator in RANGES else self._equality
            if key_of is None:
                return "", []
            keys = [key for condition in conditions for key in self._keys_of(condition, key_of)]
        except ValueError:
            return "", []
        if len(conditions) > 1:
            sides = [_SIDES[condition.operator] for condition in conditions]
            return "between", list(zip(keys, sides, strict=True))
        return operator, list(dict.fromkeys(keys))

    def _keys_of(self, condition: Condition, key_of: KeyFunction) -> list[Any]:
        return [key_of(text) for text in condition.texts(self._shape) if text is not None]
