"""The index finds exactly what a look at every entry finds, whatever comes and goes."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from making import INT8, NUMERIC, TEXT, change, table, transaction

from pgcast.matching.conditions import Condition, Junction
from pgcast.matching.conditions import test_of as made_test
from pgcast.matching.explanation import Delivery, Outcome, explain
from pgcast.matching.index import Entry, Index
from pgcast.matching.scan import Found, Scan
from pgcast.matching.stretch import Stretch
from pgcast.model.change import ABSENT, Change, Kind
from pgcast.model.relation import Collation, TypeShape

C = Collation("pg_catalog.C", is_bytewise=True, is_deterministic=True, folds_ascii=True)
SORTED_TEXT = TypeShape(25, "text", collation=C)

TABLES = [
    table("a", id=INT8, name=SORTED_TEXT),
    table("b", id=INT8, price=NUMERIC),
    table("a", in_schema="other", with_oid=3, id=TEXT, name=TEXT),
]
TEXTS = ["1", "2", "10", "1.0", "x", "", "xy", "100000"]
PATTERNS = ["x%", "xy%", "%", "1%", "x_", "1_%", "10%0", "%y", "x"]

columns = st.sampled_from(["id", "name", "price", "none"])
negation = st.booleans()
compared = st.builds(
    Condition,
    columns,
    st.sampled_from(["eq", "neq", "lt", "lte", "gt", "gte", "eq", "isdistinct"]),
    st.sampled_from(TEXTS).map(lambda text: (text,)),
    negation,
)
listed = st.builds(
    Condition,
    columns,
    st.just("in"),
    st.lists(st.sampled_from([*TEXTS, None]), max_size=4).map(tuple),
    negation,
)
liked = st.builds(
    Condition,
    columns,
    st.sampled_from(["like", "ilike"]),
    st.sampled_from(PATTERNS).map(lambda text: (text,)),
    negation,
)
nulls = st.builds(Condition, columns, st.just("is"), st.just(("null",)), negation)
lower = st.tuples(st.sampled_from(["gt", "gte"]), st.sampled_from(TEXTS))
upper = st.tuples(st.sampled_from(["lt", "lte"]), st.sampled_from(TEXTS))
between = st.tuples(columns, lower, upper).map(
    lambda ends: tuple(Condition(ends[0], operator, (text,)) for operator, text in ends[1:])
)
equalities = st.tuples(st.sampled_from(TEXTS[:3]), st.sampled_from(TEXTS)).map(
    lambda texts: (Condition("name", "eq", (texts[0],)), Condition("id", "eq", (texts[1],)))
)
conditions = st.one_of(compared, listed, liked, nulls)
junctions = st.builds(Junction, st.booleans(), st.lists(conditions, min_size=1, max_size=3).map(tuple), negation)
filters = st.one_of(st.lists(st.one_of(conditions, junctions), max_size=3).map(tuple), between, equalities)
entries = st.builds(
    Entry,
    st.integers(1, 4),
    st.frozensets(st.sampled_from(list(Kind)), min_size=1),
    st.sampled_from([None, "public", "other"]),
    st.sampled_from([None, "a", "b"]),
    filters,
)
targets = st.lists(st.lists(entries, min_size=1, max_size=4), max_size=6)
values = st.sampled_from([*(text.encode() for text in TEXTS), None, ABSENT])


@st.composite
def changes(draw: st.DrawFn) -> Change:
    on = draw(st.sampled_from(TABLES))
    row, old_row = draw(st.tuples(values, values)), draw(st.tuples(values, values))
    made = change(transaction(100), on=on, kind=draw(st.sampled_from(list(Kind))), values=row)
    if made.old_values is not None:
        made.old_values = old_row
    return made


class Target:
    def __init__(self, wanted: list[Entry]) -> None:
        self.entries = wanted


@settings(max_examples=500)
@given(targets, st.data())
def test_the_index_equals_a_full_scan(wanted: list[list[Entry]], data: st.DataObject):
    index: Index[Target] = Index()
    present: list[Target] = []
    for one in wanted:
        target = Target(one)
        index.add(target, target.entries)
        present.append(target)
        check(index, present, data.draw(changes()))
    while present:
        target = present.pop(data.draw(st.integers(0, len(present) - 1)))
        index.remove(target, target.entries)
        check(index, present, data.draw(changes()))
    assert not index


def is_left(entry: Entry, change: Change) -> bool:
    """Whether an UPDATE takes a row out of the filter: it matched before, and no longer does."""
    if change.kind is not Kind.UPDATE or not entry.conditions or not entry.concerns(change.table, change.kind):
        return False
    test = made_test(entry.conditions, change.table, None)
    return test(change.old_values) is True and test(change.values) is not True


@settings(max_examples=500)
@given(entries, st.booleans(), changes())
def test_an_explanation_says_what_a_full_scan_finds(one: Entry, leave: bool, made: Change):  # noqa: FBT001
    one = replace(one, leave=leave)
    explanation = explain(one, made, None)
    assert explanation is not None
    has_left = leave and is_left(one, made)
    expected = Delivery.DELIVERED if one.wants(made) else Delivery.LEFT if has_left else Delivery.HELD_BACK
    assert explanation.delivery is expected
    outcomes = {step.name: step.outcome for step in explanation.steps}
    assert (expected is Delivery.DELIVERED) == ({*outcomes.values()} == {Outcome.PASSED})
    if outcomes.get("leave") is Outcome.PASSED:
        assert (expected is Delivery.LEFT) == (outcomes["event"] is Outcome.PASSED)


@settings(max_examples=500)
@given(st.lists(entries, min_size=1, max_size=4), st.lists(changes(), min_size=1, max_size=20), st.data())
def test_what_a_stretch_offers_has_all_that_a_full_scan_finds(
    wanted: list[Entry], made: list[Change], data: st.DataObject
):
    wanted = [replace(one, leave=data.draw(st.booleans())) for one in wanted]
    scan = Scan(wanted, None)
    found = [number for number, one in enumerate(made, 5) if scan.match(one, lambda _: True) != Found((), ())]
    stretch = Stretch(5, made, lambda first, end: (first, made[first - 5 : end - 5]))
    number, count = data.draw(st.integers(5, 5 + len(made))), data.draw(st.integers(1, 20))
    offered = scan.candidates(stretch, number, count, lambda _: True)
    until = offered[-1] + 1 if len(offered) == count else stretch.end
    assert offered == sorted(set(offered))
    assert {one for one in found if number <= one < until} <= set(offered)


def check(index: Index[Target], present: list[Target], one: Change) -> None:
    scanned = {}
    left = {}
    for target in present:
        ids = tuple(dict.fromkeys(entry.id for entry in target.entries if entry.wants(one)))
        if ids:
            scanned[target] = ids
        ids = tuple(dict.fromkeys(entry.id for entry in target.entries if is_left(entry, one)))
        if ids:
            left[target] = ids
    assert dict(index.match(one)) == scanned
    assert len(index.match(one)) == len(scanned)
    assert dict(index.match_left(one)) == left
