"""Which entries of one target want a change, tested one after the other: for those who read the past alone.

It does without an index what the index does for all targets, and it can wait for what only Postgres can say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgcast.matching.conditions import PENDING, test_of
from pgcast.matching.stretch import lookup_of
from pgcast.model.change import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgcast.matching.conditions import Ask, Test, Verdict
    from pgcast.matching.index import Entry
    from pgcast.matching.stretch import Lookup, Stretch
    from pgcast.model.change import Change
    from pgcast.model.relation import Table

_MAX_TABLES = 64


class Found(NamedTuple):
    """The ids of the entries that want a change, and of those whose filter the row has left; each id once."""

    ids: tuple[int, ...]
    left: tuple[int, ...]


class Scan:
    """Tests changes for some entries.

    Args:
        entries: In the order in which ids are told.
        ask: Says what Postgres says of a value.
    """

    __slots__ = ("_ask", "_entries", "_lookups", "_tests")

    def __init__(self, entries: Sequence[Entry], ask: Ask | None) -> None:
        self._entries = entries
        self._ask = ask
        self._tests: dict[Table, list[Test]] = {}
        self._lookups: dict[Table, list[Lookup | None]] = {}

    def candidates(self, stretch: Stretch, number: int, count: int, is_whole: Callable[[Table], bool]) -> list[int]:
        """Return the numbers of those changes of a stretch that `match` may find, in order.

        Args:
            stretch: The changes.
            number: Of the first that counts.
            count: How many to return, at most.
            is_whole: Says of a table whether filters decide alone; of another one all changes are returned.
        """
        found: set[int] = set()
        for table in stretch.tables:
            lookups = self._lookups_of(table)
            if not lookups:
                continue
            if None in lookups or not is_whole(table):
                found.update(stretch.all_of(table, number, count))
                continue
            for lookup in lookups:
                if lookup is not None:
                    found.update(stretch.found_by(table, lookup, number))
        return sorted(found)[:count]

    def _lookups_of(self, table: Table) -> list[Lookup | None]:
        """Return, of each entry that a table's changes concern, how to find them."""
        lookups = self._lookups.get(table)
        if lookups is None:
            if len(self._lookups) >= _MAX_TABLES:
                self._lookups.clear()
            concerned = [entry for entry in self._entries if entry.concerns_table(table)]
            lookups = self._lookups[table] = [lookup_of(entry, table) for entry in concerned]
        return lookups

    def match(self, change: Change, may_want: Callable[[Entry], bool]) -> Found | None:
        """Return who wants a change; None while an answer of Postgres' is missing.

        Args:
            change: The change.
            may_want: Says whether an entry is asked at all.
        """
        table = change.table
        tests = self._tests.get(table)
        if tests is None:
            if len(self._tests) >= _MAX_TABLES:
                self._tests.clear()
            tests = self._tests[table] = [test_of(entry.conditions, table, self._ask) for entry in self._entries]
        ids: dict[int, None] = {}
        left: dict[int, None] = {}
        is_pending = False
        for entry, test in zip(self._entries, tests, strict=True):
            if not entry.concerns(table, change.kind) or not may_want(entry):
                continue
            wants, is_left = verdicts(entry, test, change)
            # The others are tested all the same: what they have to ask is asked together.
            is_pending = is_pending or wants is PENDING or is_left is PENDING
            if wants is True:
                ids[entry.id] = None
            elif is_left is True:
                left[entry.id] = None
        return None if is_pending else Found(tuple(ids), tuple(left))


def verdicts(entry: Entry, test: Test, change: Change) -> tuple[Verdict, Verdict]:
    """Return whether an entry wants a change that concerns it, and whether the row has left its filter.

    Args:
        entry: The entry.
        test: Of its conditions, on rows of the change's table.
        change: The change.
    """
    if not entry.conditions:
        return True, False
    values = change.old_values if change.kind is Kind.DELETE else change.values
    if values is None:
        return False, False
    wants = test(values)
    if not entry.leave or change.kind is not Kind.UPDATE or change.old_values is None or wants is True:
        return wants, False
    return wants, test(change.old_values)
