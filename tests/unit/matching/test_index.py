from dataclasses import replace

import pytest
from making import INT8, NUMERIC, TEXT, change, table, transaction

from pgcast.matching.conditions import Condition
from pgcast.matching.index import ROW_KINDS, Entry, Index
from pgcast.model.change import ABSENT, Change, Kind

TX = transaction(100)
TODOS = table()


class Target:
    def __init__(self, name: str, *entries: Entry) -> None:
        self.name = name
        self.entries = entries


def entry(number: int = 1, *, kinds: frozenset[Kind] = ROW_KINDS, **more: object) -> Entry:
    return replace(Entry(number, kinds), **more)  # type: ignore[arg-type]


def equal(column: str, text: str, canonical: dict[int, bytes] | None = None) -> tuple[Condition, ...]:
    return (Condition(column, "eq", (text,), canonical=tuple((oid, (one,)) for oid, one in (canonical or {}).items())),)


def index_of(*targets: Target) -> Index[Target]:
    index: Index[Target] = Index()
    for target in targets:
        index.add(target, target.entries)
    return index


def found(index: Index[Target], one: Change) -> dict[str, tuple[int, ...]]:
    matches = index.match(one)
    names = [target.name for target, _ in matches]
    assert len(names) == len(set(names))
    return {target.name: ids for target, ids in matches}


def test_wildcards_and_exact_names_find_a_change():
    index = index_of(
        Target("all", entry()),
        Target("schema", entry(schema="public")),
        Target("table", entry(schema="public", table="todos")),
        Target("any schema", entry(table="todos")),
        Target("other table", entry(schema="public", table="other")),
        Target("other schema", entry(schema="private")),
        Target("like", entry(schema="public", table="todo_")),
    )
    expected = {"all": (1,), "schema": (1,), "table": (1,), "any schema": (1,)}
    assert found(index, change(TX, on=TODOS)) == expected


def test_only_the_kinds_asked_for():
    index = index_of(
        Target("inserts", entry(kinds=frozenset({Kind.INSERT}))),
        Target("deletes", entry(kinds=frozenset({Kind.DELETE}))),
        Target("rows", entry()),
    )
    assert found(index, change(TX, on=TODOS)) == {"inserts": (1,), "rows": (1,)}
    assert found(index, change(TX, on=TODOS, kind=Kind.DELETE)) == {"deletes": (1,), "rows": (1,)}
    assert found(index, change(TX, on=TODOS, kind=Kind.TRUNCATE)) == {}


def test_all_matching_entries_of_a_target_are_told_in_its_own_order():
    index = index_of(
        Target(
            "one",
            entry(5, schema="public", table="todos", conditions=equal("id", "1")),
            entry(3, schema="public"),
            entry(4, schema="public", table="todos", conditions=equal("id", "2")),
            entry(3, schema="public"),
        )
    )
    assert found(index, change(TX, on=TODOS)) == {"one": (5, 3)}


def test_a_value_finds_its_entries_alone():
    index = index_of(*(Target(str(n), entry(table="todos", conditions=equal("id", str(n)))) for n in range(100)))
    assert found(index, change(TX, on=TODOS, values=(b"42", b"x"))) == {"42": (1,)}
    assert found(index, change(TX, on=TODOS, values=(b"100", b"x"))) == {}


@pytest.mark.parametrize("value", [None, ABSENT])
def test_null_and_what_was_not_sent_match_nothing(value: object):
    index = index_of(Target("one", entry(conditions=equal("title", "milk"))))
    assert found(index, change(TX, on=TODOS, values=(b"1", value))) == {}


def test_a_delete_is_tested_against_the_old_row():
    index = index_of(
        Target("one", entry(conditions=equal("id", "1"))), Target("two", entry(conditions=equal("title", "x")))
    )
    assert found(index, change(TX, on=TODOS, kind=Kind.DELETE, values=(b"1", ABSENT))) == {"one": (1,)}


def test_all_conditions_must_hold():
    both = (Condition("id", "eq", ("1",)), Condition("title", "eq", ("milk",)))
    index = index_of(
        Target("both", entry(conditions=both)), Target("none", entry(conditions=(*both, Condition("no", "eq", ("1",)))))
    )
    assert found(index, change(TX, on=TODOS, values=(b"1", b"milk"))) == {"both": (1,)}
    assert found(index, change(TX, on=TODOS, values=(b"1", b"tea"))) == {}
    assert found(index, change(TX, on=TODOS, values=(b"1", None))) == {}


def test_the_canonical_text_of_the_columns_type_is_what_counts():
    prices = table("prices", id=INT8, price=NUMERIC)
    index = index_of(Target("one", entry(conditions=equal("price", "1e1", {NUMERIC.oid: b"10"}))))
    assert found(index, change(TX, on=prices, values=(b"1", b"10.00"))) == {"one": (1,)}
    assert found(index, change(TX, on=prices, values=(b"1", b"10.01"))) == {}


def test_a_column_that_changed_its_type_is_compared_as_what_it_is_now():
    index = index_of(Target("one", entry(conditions=equal("id", "1", {INT8.oid: b"1"}))))
    assert found(index, change(TX, on=table(id=INT8), values=(b"1",))) == {"one": (1,)}
    assert found(index, change(TX, on=table(id=TEXT), values=(b"1",))) == {"one": (1,)}


def test_a_table_without_the_column_matches_nothing():
    index = index_of(Target("one", entry(conditions=equal("owner", "1"))))
    assert found(index, change(TX, on=TODOS)) == {}


def test_targets_come_and_go_while_changes_flow():
    stays = Target("stays", entry(conditions=equal("id", "1")))
    goes = Target("goes", entry(conditions=equal("id", "1")), entry(2))
    index = index_of(stays)
    assert found(index, change(TX, on=TODOS)) == {"stays": (1,)}
    index.add(goes, goes.entries)
    assert found(index, change(TX, on=TODOS)) == {"stays": (1,), "goes": (1, 2)}
    index.remove(goes, goes.entries)
    assert found(index, change(TX, on=TODOS)) == {"stays": (1,)}
    index.remove(stays, stays.entries)
    assert found(index, change(TX, on=TODOS)) == {}
    assert index._places == {}


def test_a_truncate_has_no_row_to_be_filtered():
    every = ROW_KINDS | {Kind.TRUNCATE}
    index = index_of(
        Target("all", entry(kinds=every)), Target("filtered", entry(kinds=every, conditions=equal("id", "1")))
    )
    assert found(index, change(TX, on=TODOS, kind=Kind.TRUNCATE)) == {"all": (1,)}


def test_an_entry_tests_a_change_on_its_own_as_the_index_does():
    wanted = entry(schema="public", table="todos", conditions=equal("id", "1"))
    assert wanted.wants(change(TX, on=TODOS))
    assert not wanted.wants(change(TX, on=TODOS, values=(b"2", b"x")))
    assert not wanted.wants(change(TX, on=table("other")))
    assert not wanted.wants(change(TX, on=TODOS, kind=Kind.TRUNCATE))


def test_entries_that_want_the_same_are_kept_once():
    same = [Target(str(number), entry(number, table="todos", conditions=equal("id", "1"))) for number in range(3)]
    index = index_of(*same)
    assert found(index, change(TX, on=TODOS)) == {"0": (0,), "1": (1,), "2": (2,)}
    (place,) = index._places.values()
    assert len(place._wants) == 1


def test_a_filter_is_found_by_what_excludes_most():
    long, any_text = Condition("title", "like", ("m%",)), Condition("title", "neq", ("x",))
    index = index_of(
        Target("equal", entry(conditions=(any_text, long, *equal("id", "1")))),
        Target("prefix", entry(conditions=(any_text, long))),
        Target("neither", entry(conditions=(any_text,))),
    )
    (place,) = index._places.values()
    assert set(place.columns) == {"id", "title"}
    assert len(place.tested) == 1
    assert set(found(index, change(TX, on=TODOS))) == {"equal", "prefix", "neither"}
    assert set(found(index, change(TX, on=TODOS, values=(b"2", b"tea")))) == {"neither"}


def test_what_cannot_be_looked_up_in_a_column_s_type_is_tested():
    # Nobody knows how this text is ordered, so nothing can be said of it.
    above = (Condition("id", "gt", ("1",), canonical=((INT8.oid, (b"1",)),)),)
    index = index_of(Target("one", entry(conditions=above)))
    assert found(index, change(TX, on=table(id=INT8), values=(b"2",))) == {"one": (1,)}
    assert found(index, change(TX, on=table(id=TEXT), values=(b"2",))) == {}


def test_a_row_that_left_a_filter_is_told_to_those_it_left():
    index = index_of(
        Target("left", entry(conditions=equal("id", "1"))),
        Target("stays", entry(conditions=equal("title", "milk"))),
        Target("never", entry(conditions=equal("id", "7"))),
        Target("all", entry()),
        Target("inserts", entry(kinds=frozenset({Kind.INSERT}), conditions=equal("id", "1"))),
    )
    update = change(TX, on=TODOS, kind=Kind.UPDATE, values=(b"2", b"milk"))
    update.old_values = (b"1", b"milk")
    assert {target.name: ids for target, ids in index.match_left(update)} == {"left": (1,)}
    update.old_values = (ABSENT, ABSENT)
    assert index.match_left(update) == []
    assert index.match_left(change(TX, on=TODOS)) == ()


def test_an_equality_that_many_share_is_not_what_they_are_found_by():
    numbers = [str(number) for number in range(50)]
    targets = [
        Target(
            number, entry(schema="public", table="todos", conditions=(*equal("title", "milk"), *equal("id", number)))
        )
        for number in numbers
    ]
    index = index_of(*targets)
    (place,) = index._places.values()
    assert {column: len(one.wants) for column, one in place.columns.items()} == {"title": 1, "id": 49}
    for number in ("0", "7"):
        assert found(index, change(TX, on=TODOS, values=(number.encode(), b"milk"))) == {number: (1,)}
    assert found(index, change(TX, on=TODOS, values=(b"7", b"tea"))) == {}
    for target in targets:
        index.remove(target, target.entries)
    assert not index
    assert not place._shared


def test_changes_of_an_internal_table_are_for_those_who_name_it():
    messages = replace(table("messages", in_schema="realtime"), is_internal=True)
    targets = [
        Target("all", entry()),
        Target("schema", entry(schema="realtime")),
        Target("any schema", entry(table="messages")),
        Target("filter", entry(conditions=equal("id", "1"))),
        Target("table", entry(schema="realtime", table="messages")),
    ]
    one = change(TX, on=messages)
    assert found(index_of(*targets), one) == {"table": (1,)}
    assert [target.name for target in targets if target.entries[0].wants(one)] == ["table"]
