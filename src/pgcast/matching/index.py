"""Which targets want a change, at a cost that grows with those that do.

Entries without a condition are kept by schema and table. Entries with conditions are kept, below that, in a hash of
their first condition's column and value; further conditions are tested on those few that the hash finds. A table's
*route* joins what concerns it, once; the next change of the table looks nothing up but its own values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pgcast.matching.predicates import key_function
from pgcast.model.change import Absent, Change, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from pgcast.model.relation import Table, TypeShape

Target = TypeVar("Target")

ROW_KINDS = frozenset({Kind.INSERT, Kind.UPDATE, Kind.DELETE})


@dataclass(frozen=True, slots=True)
class Condition:
    """A column must equal a value.

    Attributes:
        column: The column's name.
        text: The value as the client wrote it.
        canonical: For each type (its OID) the column was seen to have, the value as Postgres prints it.
    """

    column: str
    text: str
    canonical: tuple[tuple[int, bytes], ...] = ()

    def key(self, shape: TypeShape) -> Hashable:
        """Return the key a value of this type must have."""
        text = next((text for oid, text in self.canonical if oid == shape.oid), self.text.encode())
        key_of = key_function(shape)
        return text if key_of is None else key_of(text)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one binding wants.

    Attributes:
        id: The binding's id.
        kinds: Which kinds of change.
        schema: An exact name; None for all.
        table: An exact name; None for all.
        conditions: All must hold; none means every row.
    """

    id: int
    kinds: frozenset[Kind]
    schema: str | None = None
    table: str | None = None
    conditions: tuple[Condition, ...] = ()

    def wants(self, change: Change) -> bool:
        """Test one change on its own, without an index."""
        return (
            change.kind in self.kinds
            and self.schema in (None, change.table.schema)
            and self.table in (None, change.table.name)
            and all(_holds(condition, change) for condition in self.conditions)
        )


Match = tuple[Target, tuple[int, ...]]
"""A target, and the ids of those of its entries that want the change, in the order in which they were given."""


class Index(Generic[Target]):
    """All entries of all targets. A target is anything hashable by identity; its entries come and go together."""

    def __init__(self) -> None:
        self._places: dict[tuple[str | None, str | None], _Place[Target]] = {}
        self._routes: dict[tuple[Table, Kind], _Route[Target]] = {}

    def add(self, target: Target, entries: Sequence[Entry]) -> None:
        """Register a target with all its entries; not twice."""
        for order, entry in enumerate(entries):
            place = self._places.setdefault((entry.schema, entry.table), _Place())
            place.add(_Item(target, entry, order))
        self._routes.clear()

    def remove(self, target: Target, entries: Sequence[Entry]) -> None:
        """Take a target out again; with the entries that were added."""
        for order, entry in enumerate(entries):
            where = (entry.schema, entry.table)
            place = self._places[where]
            place.remove(_Item(target, entry, order))
            if place.is_empty:
                del self._places[where]
        self._routes.clear()

    # fast path: per change
    def match(self, change: Change) -> Sequence[Match[Target]]:
        """Return who wants a change, each target once."""
        route = self._routes.get((change.table, change.kind))
        if route is None:
            route = self._route(change.table, change.kind)
        if not route.lookups:
            return route.plain
        return self._match_values(route, change)

    def _match_values(self, route: _Route[Target], change: Change) -> Sequence[Match[Target]]:
        values = change.old_values if change.kind is Kind.DELETE else change.values
        if values is None:
            return route.plain
        found: list[_Item[Target]] = []
        for place, key_of, bucket in route.lookups:
            value = values[place]
            if value is None or isinstance(value, Absent):
                continue
            hits = bucket.get(value if key_of is None else key_of(value))
            if hits:
                found.extend(item for item in hits if _wants_rest(item.entry, change))
        if not found:
            return route.plain
        return _merge([*route.plain_items, *found])

    def _route(self, table: Table, kind: Kind) -> _Route[Target]:
        if len(self._routes) > 4 * _MAX_ROUTED_TABLES:
            self._routes.clear()  # tables that are announced anew leave their old routes behind
        plain: list[_Item[Target]] = []
        lookups: list[_Lookup[Target]] = []
        schema, name = table.schema, table.name
        for where in ((schema, name), (schema, None), (None, name), (None, None)):
            place = self._places.get(where)
            if place is not None:
                plain.extend(item for item in place.plain if kind in item.entry.kinds)
                lookups.extend(place.lookups(table))
        route = _Route(plain, _merge(plain), lookups)
        self._routes[table, kind] = route
        return route


_MAX_ROUTED_TABLES = 10_000


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


_Bucket = dict["Hashable", dict[_Item[Target], None]]
_Lookup = tuple[int, "Callable[[bytes], Hashable] | None", _Bucket[Target]]


class _Route(Generic[Target]):
    """What concerns one kind of change of one table."""

    __slots__ = ("lookups", "plain", "plain_items")

    def __init__(
        self, plain_items: list[_Item[Target]], plain: list[Match[Target]], lookups: list[_Lookup[Target]]
    ) -> None:
        self.plain_items = plain_items
        self.plain = plain
        self.lookups = lookups


class _Place(Generic[Target]):
    """The entries for one schema and table, either of them perhaps a wildcard."""

    __slots__ = ("_by_column", "plain")

    def __init__(self) -> None:
        self.plain: dict[_Item[Target], None] = {}
        self._by_column: dict[str, _ColumnHash[Target]] = {}

    @property
    def is_empty(self) -> bool:
        return not self.plain and not self._by_column

    def add(self, item: _Item[Target]) -> None:
        if item.entry.conditions:
            column = item.entry.conditions[0].column
            self._by_column.setdefault(column, _ColumnHash()).add(item)
        else:
            self.plain[item] = None

    def remove(self, item: _Item[Target]) -> None:
        if not item.entry.conditions:
            del self.plain[item]
            return
        column = item.entry.conditions[0].column
        hashed = self._by_column[column]
        hashed.remove(item)
        if not hashed.items:
            del self._by_column[column]

    def lookups(self, table: Table) -> list[_Lookup[Target]]:
        found: list[_Lookup[Target]] = []
        for place, (column, shape) in enumerate(zip(table.relation.columns, table.types, strict=True)):
            hashed = self._by_column.get(column.name)
            if hashed is not None:
                found.append((place, key_function(shape), hashed.bucket(shape)))
        return found


class _ColumnHash(Generic[Target]):
    """The entries whose first condition is on one column, by value; once for each type the column is seen to have."""

    __slots__ = ("_buckets", "items")

    def __init__(self) -> None:
        self.items: dict[_Item[Target], None] = {}
        self._buckets: dict[TypeShape, _Bucket[Target]] = {}

    def add(self, item: _Item[Target]) -> None:
        self.items[item] = None
        for shape, bucket in self._buckets.items():
            bucket.setdefault(item.entry.conditions[0].key(shape), {})[item] = None

    def remove(self, item: _Item[Target]) -> None:
        del self.items[item]
        for shape, bucket in self._buckets.items():
            key = item.entry.conditions[0].key(shape)
            same = bucket[key]
            del same[item]
            if not same:
                del bucket[key]

    def bucket(self, shape: TypeShape) -> _Bucket[Target]:
        bucket = self._buckets.get(shape)
        if bucket is None:
            bucket = {}
            for item in self.items:
                bucket.setdefault(item.entry.conditions[0].key(shape), {})[item] = None
            self._buckets[shape] = bucket
        return bucket


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


def _wants_rest(entry: Entry, change: Change) -> bool:
    return change.kind in entry.kinds and all(_holds(condition, change) for condition in entry.conditions[1:])


def _holds(condition: Condition, change: Change) -> bool:
    """Test one condition; a column that is not there, or a value that was not sent, or NULL, is no match."""
    values = change.old_values if change.kind is Kind.DELETE else change.values
    if values is None:
        return False
    for column, shape, value in zip(change.table.relation.columns, change.table.types, values, strict=True):
        if column.name == condition.column:
            if value is None or isinstance(value, Absent):
                return False
            key_of = key_function(shape)
            return (value if key_of is None else key_of(value)) == condition.key(shape)
    return False
