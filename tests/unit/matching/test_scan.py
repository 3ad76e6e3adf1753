from dataclasses import replace

from making import change, table, transaction

from pgcast.matching.conditions import PENDING, Condition, Verdict
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.matching.scan import Found, Scan
from pgcast.matching.stretch import Stretch
from pgcast.model.change import Kind

TX = transaction(100)
TODOS = table()
MILK = (Condition("title", "eq", ("milk",)),)
REGEX = (Condition("title", "match", ("m",)),)


def scanned(*entries: Entry, answer: Verdict = PENDING, kind: Kind = Kind.INSERT, old: object = None) -> Found | None:
    one = change(TX, on=TODOS, kind=kind)
    if old is not None:
        one.old_values = old  # type: ignore[assignment]
    return Scan(entries, lambda _question, _value: answer).match(one, lambda entry: entry.id != 9)


def test_ids_are_told_once_in_the_order_of_the_entries():
    assert scanned(
        Entry(3, ROW_KINDS), Entry(1, ROW_KINDS, conditions=MILK), Entry(3, ROW_KINDS), Entry(9, ROW_KINDS)
    ) == Found((3, 1), ())


def test_other_tables_and_kinds_are_left_out():
    assert scanned(Entry(1, ROW_KINDS, "public", "other"), Entry(2, frozenset({Kind.UPDATE}))) == Found((), ())


def test_what_is_pending_makes_all_wait():
    asked = Entry(2, ROW_KINDS, conditions=REGEX, asks=True)
    assert scanned(Entry(1, ROW_KINDS), asked) is None
    assert scanned(Entry(1, ROW_KINDS), asked, answer=True) == Found((1, 2), ())
    assert scanned(Entry(1, ROW_KINDS), asked, answer=None) == Found((1,), ())


def test_a_row_that_left_is_told_to_who_asked():
    leaving, staying = Entry(1, ROW_KINDS, conditions=MILK, leave=True), Entry(2, ROW_KINDS, conditions=MILK)
    assert scanned(leaving, staying, kind=Kind.UPDATE, old=(b"1", b"tea")) == Found((1, 2), ())
    tea = (Condition("title", "eq", ("tea",)),)
    leaving = Entry(1, ROW_KINDS, conditions=tea, leave=True)
    assert scanned(leaving, kind=Kind.UPDATE, old=(b"1", b"tea")) == Found((), (1,))
    assert scanned(leaving, kind=Kind.DELETE, old=(b"1", b"tea")) == Found((1,), ())


def test_a_truncate_has_no_row():
    every = ROW_KINDS | {Kind.TRUNCATE}
    assert scanned(Entry(1, every, conditions=MILK), Entry(2, every), kind=Kind.TRUNCATE) == Found((2,), ())


def test_candidates_are_what_some_entry_may_want_in_order_and_as_many_as_are_asked_for():
    users = [table("users", with_oid=oid) for oid in range(2, 70)]  # more than are remembered
    tea, milk = (change(TX, on=TODOS, values=(b"1", title)) for title in (b"tea", b"milk"))
    changes = [tea, milk, *(change(TX, on=on) for on in users), tea, milk]
    stretch = Stretch(100, changes, lambda first, end: (first, changes[first - 100 : end - 100]))
    last = 100 + len(changes) - 1

    def candidates(*entries: Entry, number: int = 100, count: int = 10, is_whole: bool = True) -> list[int]:
        return Scan(entries, None).candidates(stretch, number, count, lambda _: is_whole)

    of_todos = Entry(1, ROW_KINDS, "public", "todos")
    only_milk, also_milk = replace(of_todos, conditions=MILK), replace(of_todos, id=2, conditions=MILK)
    assert candidates(only_milk, also_milk) == [101, last]
    assert candidates(only_milk, number=102) == [last]
    assert candidates(only_milk, count=1) == [101]
    assert candidates(only_milk, of_todos) == [100, 101, last - 1, last]
    assert candidates(only_milk, is_whole=False) == [100, 101, last - 1, last]
    assert candidates(Entry(1, ROW_KINDS, "public", "users"), count=3) == [102, 103, 104]
    assert candidates(Entry(1, ROW_KINDS, "public", "other")) == []
