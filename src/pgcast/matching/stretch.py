"""Which of some neighbouring changes are worth a test, found by what their rows hold: the index, turned round.

Whoever reads the past has few entries, and many changes to look at. What they are found by is written down once for
all who read the same changes, column by column, as it is asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final

from pgcast.matching.conditions import question_of
from pgcast.matching.keyed import access_of
from pgcast.matching.predicates import equality_key
from pgcast.model.change import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from pgcast.matching.index import Entry
    from pgcast.model.change import Change
    from pgcast.model.relation import Table

MAX_CHANGES: Final = 2_000


class Lookup:
    """By what the changes that an entry may want are found, in one table.

    Attributes:
        column: The place of a column in the table.
        keys: The keys of the values that it must have.
    """

    __slots__ = ("column", "keys")

    def __init__(self, column: int, keys: Sequence[Any]) -> None:
        self.column = column
        self.keys = keys


class Stretch:
    """Neighbouring changes.

    Args:
        first: The number of the first of them.
        changes: They; `MAX_CHANGES` at most.
        held: Returns the changes between two numbers that are still held, and the number of the first of them: they
            are not kept here.

    Attributes:
        end: The number behind the last of them.
        postings: How many values have been written down.
    """

    __slots__ = ("_by_column", "_by_table", "_first", "_held", "end", "postings")

    def __init__(
        self, first: int, changes: Sequence[Change], held: Callable[[int, int], tuple[int, Sequence[Change]]]
    ) -> None:
        self._first = first
        self._held = held
        self._by_table: dict[Table, array[int]] = {}
        self._by_column: dict[tuple[Table, int], tuple[array[int], array[int]]] = {}
        self.end = first + len(changes)
        self.postings = len(changes)
        for place, change in enumerate(changes):
            places = self._by_table.get(change.table)
            if places is None:
                places = self._by_table[change.table] = array("H")
            places.append(place)

    @property
    def tables(self) -> Collection[Table]:
        """The tables of the changes."""
        return self._by_table.keys()

    def all_of(self, table: Table, number: int, count: int) -> Iterable[int]:
        """Return the numbers of a table's changes, in order: `count` at most, none below `number`."""
        places = self._by_table[table]
        begin = bisect_left(places, number - self._first)
        return (self._first + place for place in places[begin : begin + count])

    def found_by(self, table: Table, lookup: Lookup, number: int) -> Iterable[int]:
        """Go through the numbers of the changes that a lookup finds, none below `number`; perhaps of others, too."""
        hashes, places = self._by_column.get((table, lookup.column)) or self._write_down(table, lookup.column)
        least = number - self._first
        for key in lookup.keys:
            wanted = hash(key)
            same = places[bisect_left(hashes, wanted) : bisect_right(hashes, wanted)]  # in order
            yield from (self._first + place for place in same if place >= least)

    def _write_down(self, table: Table, column: int) -> tuple[array[int], array[int]]:
        """Note the hash of each value of a column, sorted, and the places of the changes that have them."""
        key_of = equality_key(table.types[column])
        assert key_of is not None  # noqa: S101 - otherwise there is no lookup by it
        found: set[tuple[int, int]] = set()
        number, changes = self._held(self._first, self.end)
        for place, change in enumerate(changes, number - self._first):
            if change.table is not table:
                continue
            for values in (change.values, change.old_values):
                value = None if values is None else values[column]
                if value is None or isinstance(value, Absent):
                    continue
                try:
                    found.add((hash(key_of(value)), place))
                except ValueError:
                    continue  # no text of this type: nothing can be equal to it
        pairs = sorted(found)
        written = array("q", [key for key, _ in pairs]), array("H", [place for _, place in pairs])
        self._by_column[table, column] = written
        self.postings += len(pairs)
        return written


def lookup_of(entry: Entry, table: Table) -> Lookup | None:
    """Return how to find the changes of a table that an entry may want; None where all have to be tested."""
    access = access_of(entry.conditions)
    if access is None or access.conditions[0].operator not in {"eq", "in"}:
        return None
    (condition,) = access.conditions
    for place, (column, shape) in enumerate(zip(table.relation.columns, table.types, strict=True)):
        if column.name != condition.column:
            continue
        key_of = equality_key(shape)
        if key_of is None or question_of(condition, shape) is not None:
            return None
        try:
            return Lookup(place, [key_of(text) for text in condition.texts(shape) if text is not None])
        except ValueError:
            return None
    return None
