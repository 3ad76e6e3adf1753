from collections.abc import Sequence

import pytest
from making import NUMERIC, change, table, transaction

from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.matching.stretch import Lookup, Stretch, lookup_of
from pgcast.model.change import ABSENT, Change, Kind
from pgcast.model.relation import TypeKind, TypeShape

TX = transaction(100)
TODOS, USERS = table("todos"), table("users", with_oid=2)
TITLE = 1


def insert(title: object) -> Change:
    return change(TX, on=TODOS, values=(b"1", title))


def stretch_of(*changes: Change, first: int = 0, gone: int = 0) -> Stretch:
    def held(start: int, end: int) -> tuple[int, Sequence[Change]]:
        start = max(start, first + gone)
        return start, changes[start - first : end - first]

    return Stretch(first, changes, held)


def found(stretch: Stretch, *keys: object, number: int = 0) -> list[int]:
    return sorted(stretch.found_by(TODOS, Lookup(TITLE, keys), number))


def looked_up(*conditions: Condition) -> tuple[int, list[object]] | None:
    lookup = lookup_of(Entry(1, ROW_KINDS, conditions=conditions), TODOS)
    return None if lookup is None else (lookup.column, list(lookup.keys))


def test_changes_are_found_by_a_value_from_a_number_on():
    stretch = stretch_of(insert(b"milk"), insert(b"tea"), insert(b"milk"), insert(b"milk"), first=10)
    assert stretch.end == 14
    assert found(stretch, b"milk") == [10, 12, 13]
    assert found(stretch, b"milk", b"tea", number=11) == [11, 12, 13]
    assert found(stretch, b"beer") == []


def test_all_changes_of_a_table_are_told_as_many_as_are_wanted():
    of_users = change(TX, on=USERS)
    stretch = stretch_of(insert(b"a"), of_users, insert(b"b"), insert(b"c"), first=10)
    assert list(stretch.tables) == [TODOS, USERS]
    assert list(stretch.all_of(TODOS, 0, 100)) == [10, 12, 13]
    assert list(stretch.all_of(TODOS, 11, 1)) == [12]
    assert list(stretch.all_of(USERS, 12, 100)) == []
    assert found(stretch, b"milk") == []


def test_old_values_count_as_well():
    moved = change(TX, on=TODOS, kind=Kind.UPDATE, values=(b"1", b"milk"))
    moved.old_values = (b"1", b"tea")
    deleted = change(TX, on=TODOS, kind=Kind.DELETE, values=(b"1", b"tea"))
    stretch = stretch_of(moved, deleted)
    assert found(stretch, b"milk") == [0]
    assert found(stretch, b"tea") == [0, 1]


def test_what_is_null_or_absent_or_no_text_of_the_type_is_not_found():
    stretch = stretch_of(insert(None), insert(ABSENT), insert(b""), change(TX, on=TODOS, kind=Kind.TRUNCATE))
    assert found(stretch, b"") == [2]
    prices = table("prices", price=NUMERIC)
    stretch = stretch_of(*(change(TX, on=prices, values=(text,)) for text in (b"dear", b"1.0", b"1.00")))
    one = lookup_of(Entry(1, ROW_KINDS, conditions=(Condition("price", "eq", ("1",)),)), prices)
    assert one is not None
    assert sorted(stretch.found_by(prices, one, 0)) == [1, 2]


def test_a_value_is_written_down_once_and_what_is_gone_by_then_is_left_out():
    stretch = stretch_of(insert(b"milk"), insert(b"milk"), first=10, gone=1)
    assert found(stretch, b"milk") == [11]
    assert stretch.postings == 3
    assert found(stretch, b"tea") == []
    assert stretch.postings == 3


@pytest.mark.parametrize(
    "condition",
    [
        Condition("title", "gt", ("a",)),
        Condition("title", "like", ("a%",)),
        Condition("title", "match", ("a",)),
        Condition("title", "eq", ("a",), is_negated=True),
        Condition("none", "eq", ("a",)),
    ],
)
def test_what_is_no_equality_is_not_looked_up(condition: Condition):
    assert looked_up(condition) is None


def test_equalities_are_looked_up_and_null_is_none():
    assert looked_up(Condition("title", "eq", ("a",)), Condition("id", "gt", ("1",))) == (TITLE, [b"a"])
    assert looked_up(Condition("title", "in", ("a", None, "b"))) == (TITLE, [b"a", b"b"])
    assert looked_up() is None


def test_what_is_no_value_of_the_type_or_only_postgres_can_compare_is_not_looked_up():
    prices = table("prices", price=NUMERIC)
    assert lookup_of(Entry(1, ROW_KINDS, conditions=(Condition("price", "eq", ("dear",)),)), prices) is None
    places = table("places", at=TypeShape(90_000, "place", TypeKind.COMPOSITE))
    assert lookup_of(Entry(1, ROW_KINDS, conditions=(Condition("at", "eq", ("(1,2)",)),)), places) is None
