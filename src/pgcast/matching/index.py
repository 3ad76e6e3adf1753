"""Which targets want a change, at a cost that grows with those that do.

Entries without a filter are kept by schema and table. Entries with filters are kept, below that, by one condition that
can be looked up: an equality, an `in`, a range or the beginning of a `like`. What that finds is tested as a whole.
Filters that offer no such condition are tested one by one, last. Entries that want the same are found and tested once,
whoever they belong to.

A table's *route* joins what concerns it, once; the next change of the table looks nothing up but its own values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pgcast.matching.conditions import test_of
from pgcast.matching.keyed import Access, Keyed, access_of
from pgcast.model.change import Absent, Change, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.matching.conditions import Condition, Part, Test
    from pgcast.model.change import Values
    from pgcast.model.relation import Table, TypeShape

Target = TypeVar("Target")

ROW_KINDS = frozenset({Kind.INSERT, Kind.UPDATE, Kind.DELETE})

_MAX_ROUTED_TABLES = 10_000
_MAX_TESTS = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """What one binding wants.

    Attributes:
        id: The binding's id.
        kinds: Which kinds of change.
        schema: An exact name; None for all.
        table: An exact name; None for all.
        conditions: The filter: all must hold; none means every row.
        select: The columns asked for; empty for all.
        leave: Whether it wants to know when a row leaves the filter.
        asks: Whether its filter needs answers of Postgres'.
    """

    id: int
    kinds: frozenset[Kind]
    schema: str | None = None
    table: str | None = None
    conditions: tuple[Part, ...] = ()
    select: tuple[str, ...] = ()
    leave: bool = False
    asks: bool = False

    def concerns(self, table: Table, kind: Kind) -> bool:
        """Say whether changes of a kind, of a table, are what it is about; the filter aside."""
        return kind in self.kinds and self.concerns_table(table)

    def concerns_table(self, table: Table) -> bool:
        """Say whether a table is one of those that it is about; one that is internal must be named."""
        if table.is_internal and None in {self.schema, self.table}:
            return False
        return self.schema in {None, table.schema} and self.table in {None, table.name}

    def wants(self, change: Change) -> bool:
        """Test one change on its own, without an index."""
        if not self.concerns(change.table, change.kind):
            return False
        if not self.conditions:
            return True
        values = change.old_values if change.kind is Kind.DELETE else change.values
        return values is not None and test_of(self.conditions, change.table, None)(values) is True


Match = tuple[Target, tuple[int, ...]]
"""A target, and the ids of those of its entries that want the change, in the order in which they were given."""


class Index(Generic[Target]):
    """All entries of all targets. A target is anything hashable by identity; its entries come and go together."""

    def __init__(self) -> None:
        self._places: dict[tuple[str | None, str | None], _Place[Target]] = {}
        self._routes: dict[tuple[Table, Kind], _Route[Target]] = {}

    def __bool__(self) -> bool:
        return bool(self._places)

    def add(self, target: Target, entries: Sequence[Entry]) -> None:
        """Register a target with all its entries; not twice."""
        for order, entry in enumerate(entries):
            where = (entry.schema, entry.table)
            place = self._places.get(where)
            if place is None:
                place = self._places[where] = _Place()
            if place.add(_Item(target, entry, order)):
                self._routes.clear()

    def remove(self, target: Target, entries: Sequence[Entry]) -> None:
        """Take a target out again; with the entries that were added."""
        for order, entry in enumerate(entries):
            where = (entry.schema, entry.table)
            place = self._places[where]
            if place.remove(_Item(target, entry, order)):
                self._routes.clear()
            if place.is_empty:
                del self._places[where]

    # fast path: per change
    def match(self, change: Change) -> Sequence[Match[Target]]:
        """Return who wants a change, each target once."""
        route = self._routes.get((change.table, change.kind))
        if route is None:
            route = self._route(change.table, change.kind)
        if route.is_plain:
            return route.plain
        values = change.old_values if change.kind is Kind.DELETE else change.values
        if values is None:
            return route.plain
        found = route.find(values)
        if not found:
            return route.plain
        return _merge([*route.plain_items, *(item for want in found for item in want.items)])

    def match_left(self, change: Change) -> Sequence[Match[Target]]:
        """Return whose filter a row has left: the old values match, and the new ones do not."""
        old_values, values = change.old_values, change.values
        if change.kind is not Kind.UPDATE or old_values is None or values is None or old_values == values:
            return ()
        table = change.table
        route = self._routes.get((table, change.kind))
        if route is None:
            route = self._route(table, change.kind)
        if route.is_plain:
            return ()
        found = [want for want in route.find(old_values) if want.test(table)(values) is not True]
        return _merge([item for want in found for item in want.items])

    def _route(self, table: Table, kind: Kind) -> _Route[Target]:
        if len(self._routes) > 4 * _MAX_ROUTED_TABLES:
            self._routes.clear()  # tables that are announced anew leave their old routes behind
        schema, name = table.schema, table.name
        wheres = ((schema, name), (schema, None), (None, name), (None, None))
        places = [
            place
            for where in wheres[: 1 if table.is_internal else None]
            if (place := self._places.get(where)) is not None
        ]
        route = self._routes[table, kind] = _Route(table, kind, places)
        return route


class _Item(Generic[Target]):
    """One entry of one target; equal to another of the same target and place in its list."""

    __slots__ = ("entry", "order", "target")

    def __init__(self, target: Target, entry: Entry, order: int) -> None:
        self.target = target
        self.entry = entry
        self.order = order

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Item) and self.target is other.target and self.order == other.order

    def __hash__(self) -> int:
        return hash((id(self.target), self.order))


class _Want(Generic[Target]):
    """What entries want that are alike, and the entries.

    Attributes:
        kinds: Which kinds of change.
        access: By which of its conditions it is found; None where it has to be tested.
        items: The entries.
    """

    __slots__ = ("_conditions", "_tests", "access", "items", "kinds")

    def __init__(self, kinds: frozenset[Kind], conditions: tuple[Part, ...], access: Access | None) -> None:
        self.kinds = kinds
        self.access = access
        self.items: dict[_Item[Target], None] = {}
        self._conditions = conditions
        self._tests: dict[Table, Test] | None = None

    def test(self, table: Table) -> Test:
        """Return the test of its whole filter on a table's rows."""
        if self._tests is None:
            self._tests = {}
        test = self._tests.get(table)
        if test is None:
            if len(self._tests) >= _MAX_TESTS:
                self._tests.clear()
            test = self._tests[table] = test_of(self._conditions, table, None)
        return test


class _Place(Generic[Target]):
    """The entries for one schema and table, either of them perhaps a wildcard."""

    __slots__ = ("_shared", "_wants", "columns", "plain", "tested")

    def __init__(self) -> None:
        self.plain: dict[_Item[Target], None] = {}
        self.columns: dict[str, _Column[Target]] = {}
        self.tested: dict[_Want[Target], None] = {}
        self._wants: dict[tuple[frozenset[Kind], tuple[Part, ...]], _Want[Target]] = {}
        # How many filters of several conditions are found by an equality.
        self._shared: Counter[Condition] = Counter()

    @property
    def is_empty(self) -> bool:
        return not self.plain and not self._wants

    def add(self, item: _Item[Target]) -> bool:
        """Add an entry; say whether the routes must be made anew."""
        entry = item.entry
        if not entry.conditions:
            self.plain[item] = None
            return True
        key = (entry.kinds, entry.conditions)
        want = self._wants.get(key)
        if want is not None:
            want.items[item] = None
            return False
        want = self._wants[key] = _Want(*key, access_of(entry.conditions, self._shared.__getitem__))
        want.items[item] = None
        if want.access is None:
            self.tested[want] = None
            return True
        if want.access.shareable is not None:
            self._shared[want.access.shareable] += 1
        column = self.columns.get(want.access.column)
        is_new = column is None
        if column is None:
            column = self.columns[want.access.column] = _Column()
        column.add(want, want.access)
        return is_new

    def remove(self, item: _Item[Target]) -> bool:
        """Remove an entry; say whether the routes must be made anew."""
        entry = item.entry
        if not entry.conditions:
            del self.plain[item]
            return True
        key = (entry.kinds, entry.conditions)
        want = self._wants[key]
        del want.items[item]
        if want.items:
            return False
        del self._wants[key]
        if want.access is None:
            del self.tested[want]
            return True
        shared = want.access.shareable
        if shared is not None:
            self._shared[shared] -= 1
            if not self._shared[shared]:
                del self._shared[shared]
        column = self.columns[want.access.column]
        column.remove(want, want.access)
        if column.wants:
            return False
        del self.columns[want.access.column]
        return True


class _Column(Generic[Target]):
    """What is found by one column, once for each type that the column is seen to have."""

    __slots__ = ("_keyed", "wants")

    def __init__(self) -> None:
        self.wants: dict[_Want[Target], Access] = {}
        self._keyed: dict[TypeShape, Keyed[_Want[Target]]] = {}

    def add(self, want: _Want[Target], access: Access) -> None:
        self.wants[want] = access
        for keyed in self._keyed.values():
            keyed.add(want, access)

    def remove(self, want: _Want[Target], access: Access) -> None:
        del self.wants[want]
        for keyed in self._keyed.values():
            keyed.remove(want, access)

    def keyed(self, shape: TypeShape) -> Keyed[_Want[Target]]:
        keyed = self._keyed.get(shape)
        if keyed is None:
            keyed = self._keyed[shape] = Keyed(shape)
            for want, access in self.wants.items():
                keyed.add(want, access)
        return keyed


class _Route(Generic[Target]):
    """What concerns one kind of change of one table."""

    __slots__ = ("_kind", "_lookups", "_table", "_tested", "is_plain", "plain", "plain_items")

    def __init__(self, table: Table, kind: Kind, places: Sequence[_Place[Target]]) -> None:
        self._table = table
        self._kind = kind
        self.plain_items = [item for place in places for item in place.plain if kind in item.entry.kinds]
        self.plain = _merge(self.plain_items)
        self._lookups = [
            (number, found.keyed(shape))
            for place in places
            for number, (column, shape) in enumerate(zip(table.relation.columns, table.types, strict=True))
            if (found := place.columns.get(column.name)) is not None
        ]
        self._tested = [(want.test(table), want) for place in places for want in place.tested if kind in want.kinds]
        self.is_plain = not self._lookups and not self._tested

    # fast path: per change
    def find(self, values: Values) -> list[_Want[Target]]:
        """Return whose filter a row passes."""
        found: list[_Want[Target]] = []
        for number, keyed in self._lookups:
            value = values[number]
            if value is None or isinstance(value, Absent):
                continue
            for want in keyed.find(value):
                access = want.access
                if self._kind in want.kinds and (
                    (access is not None and access.is_exact) or want.test(self._table)(values) is True
                ):
                    found.append(want)
            found.extend(
                want for want in keyed.unkeyed if self._kind in want.kinds and want.test(self._table)(values) is True
            )
        for test, want in self._tested:
            if test(values) is True:
                found.append(want)
        return found


def _merge(items: Sequence[_Item[Target]]) -> list[Match[Target]]:
    """Gather the items of each target; ids in the order of the target's list, equal ids once."""
    by_target: dict[int, list[_Item[Target]]] = {}
    for item in items:
        by_target.setdefault(id(item.target), []).append(item)
    return [
        (same[0].target, tuple(dict.fromkeys(item.entry.id for item in sorted(same, key=_order_of))))
        for same in by_target.values()
    ]


def _order_of(item: _Item[Target]) -> int:
    return item.order
