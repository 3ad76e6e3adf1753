"""What is explained is what decides: the steps agree with the index, and name the reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from making import INT8, TEXT, change, table, transaction

from pgcast.engine.bindings import _Checker
from pgcast.matching.conditions import PENDING, Condition, Junction, Part, Verdict
from pgcast.matching.explanation import Delivery, Explanation, Outcome, Step, explain, judge, written
from pgcast.matching.filters import parse_filter
from pgcast.matching.index import ROW_KINDS, Entry, Index
from pgcast.model.change import ABSENT, Change, Kind
from pgcast.model.relation import TypeShape

TX = transaction(100)
TODOS = table()
MILK, FIRST = Condition("title", "eq", ("milk",)), Condition("id", "eq", ("1",))
REGEX = Condition("title", "match", ("^m",))


def explained(entry: Entry, one: Change, answer: Verdict = PENDING) -> Explanation:
    explanation = explain(entry, one, lambda _question, _value: answer)
    assert explanation is not None
    return explanation


def step(name: str, explanation: Explanation) -> Step:
    (found,) = [one for one in explanation.steps if one.name == name]
    return found


def test_a_change_that_is_wanted_passes_every_step():
    explanation = explained(Entry(7, ROW_KINDS, "public", "todos", (MILK,)), change(TX, on=TODOS))
    assert explanation.delivery is Delivery.DELIVERED
    assert [(one.name, one.outcome) for one in explanation.steps] == [
        ("event", Outcome.PASSED),
        ("table", Outcome.PASSED),
        ("filter", Outcome.PASSED),
    ]


@pytest.mark.parametrize(
    ("entry", "name", "detail"),
    [
        (Entry(1, frozenset({Kind.UPDATE})), "event", "INSERT, and wanted is UPDATE"),
        (Entry(1, ROW_KINDS, "public", "notes"), "table", "public.todos, and wanted is public.notes"),
        (Entry(1, ROW_KINDS, "other", None), "table", "public.todos, and wanted is other.*"),
        (
            Entry(1, ROW_KINDS, conditions=(FIRST, replace(MILK, is_negated=True))),
            "filter",
            "for the new row, title=not.eq.milk is false",
        ),
        (
            Entry(1, ROW_KINDS, conditions=(Condition("id", "gt", ("4",)), Condition("nope", "eq", ("1",)), FIRST)),
            "filter",
            "for the new row, id=gt.4 is false, nope=eq.1 is unknown",
        ),
    ],
)
def test_what_holds_a_change_back_is_named(entry: Entry, name: str, detail: str):
    explanation = explained(entry, change(TX, on=TODOS))
    assert explanation.delivery is Delivery.HELD_BACK
    assert step(name, explanation).outcome is Outcome.HELD_BACK
    assert step(name, explanation).detail == detail


def test_another_table_s_filter_is_not_looked_at():
    explanation = explained(Entry(1, ROW_KINDS, None, "notes", (MILK,)), change(TX, on=TODOS))
    assert step("filter", explanation).outcome is Outcome.SKIPPED


def test_the_values_that_were_compared_are_shown():
    judged = judge(Condition("id", "gte", ("+7",), canonical=((20, (b"7",)),)), TODOS, (b"5", None), None)
    assert (judged.text, judged.verdict, judged.value, judged.operands) == ("id=gte.+7", False, b"5", (b"7",))
    assert (judged.type_name, judged.is_asked, judged.why) == ("int8", False, "")


@pytest.mark.parametrize(
    ("condition", "title", "why"),
    [
        (MILK, None, "what is compared with NULL is neither true nor false"),
        (MILK, ABSENT, "the change does not carry this column"),
        (Condition("nope", "eq", ("1",)), b"milk", "the table has, or publishes, no such column"),
        (
            Condition("title", "in", ("tea", None)),
            b"milk",
            "it is none of the items, but one of them is NULL: neither true nor false",
        ),
        (REGEX, b"milk", "only Postgres can compare it, and could not"),
        (Condition("id", "gt", ("many",)), b"milk", "one of the two is no int8"),
    ],
)
@pytest.mark.parametrize("is_negated", [False, True])
def test_why_a_condition_is_unknown_is_said(condition: Condition, title: object, why: str, is_negated: bool):  # noqa: FBT001
    condition = replace(condition, is_negated=is_negated)
    judged = judge(condition, TODOS, (b"1", title), lambda _question, _value: None)  # type: ignore[arg-type]
    assert (judged.verdict, judged.why) == (None, why)


def test_a_path_that_leads_nowhere_is_null():
    documents = table(data=TypeShape(3802, "jsonb"))
    condition = Condition("data", "eq", ("1",), path=("a",))
    judged = judge(condition, documents, (b'{"b": 1}',), None)
    assert judged.why.startswith("nothing stands at this path, which is NULL; what is compared with NULL")
    assert judge(condition, documents, (b'{"a": 1}',), None).value == b"1"
    assert judge(condition, documents, (None,), None).why.startswith("what is compared with NULL")


def test_without_anybody_to_ask_that_is_said():
    assert judge(REGEX, TODOS, (b"1", b"milk"), None).why == "only Postgres could compare it"


def test_a_group_has_its_parts():
    judged = judge(Junction(True, (FIRST, MILK), is_negated=True), TODOS, (b"1", None), None)
    assert (judged.verdict, [part.verdict for part in judged.parts]) == (False, [True, None])
    assert judge(Junction(True, (MILK,)), TODOS, (b"1", None), None).why == "what is unknown decides"


def test_what_postgres_has_not_answered_is_not_explained_yet():
    entry = Entry(1, ROW_KINDS, conditions=(Junction(True, (FIRST, REGEX)),), asks=True)
    one = change(TX, on=TODOS)
    assert explain(entry, one, lambda _question, _value: PENDING) is None
    judged = step("filter", explained(entry, one, answer=False)).conditions[0].parts[1]
    assert (judged.verdict, judged.is_asked) == (False, True)
    assert explain(Entry(1, ROW_KINDS, conditions=(REGEX,)), one, lambda _question, _value: PENDING) is None


def test_a_row_that_leaves_is_told_by_the_old_row():
    entry = Entry(1, ROW_KINDS, conditions=(MILK,), leave=True)
    one = change(TX, on=TODOS, kind=Kind.UPDATE, values=(b"1", b"tea"))
    one.old_values = (b"1", b"milk")
    explanation = explained(entry, one)
    assert explanation.delivery is Delivery.LEFT
    assert step("filter", explanation).outcome is Outcome.HELD_BACK
    assert step("leave", explanation).outcome is Outcome.PASSED
    one.old_values = (b"1", ABSENT)
    explanation = explained(entry, one)
    assert explanation.delivery is Delivery.HELD_BACK
    assert step("leave", explanation).detail == "for the old row, title=eq.milk is unknown"


def test_a_delete_is_judged_by_its_old_row_and_a_truncate_by_none():
    one = change(TX, on=TODOS, kind=Kind.DELETE, values=(b"1", ABSENT))
    explanation = explained(Entry(1, ROW_KINDS, conditions=(MILK,)), one)
    assert step("filter", explanation).detail == "for what the WAL tells of the old row, title=eq.milk is unknown"
    assert step("filter", explanation).hint == "with REPLICA IDENTITY FULL the WAL carries the whole old row"
    nested = Entry(1, ROW_KINDS, conditions=(Junction(True, (MILK, Junction(True, (MILK,)))),))
    assert step("filter", explained(nested, one)).hint
    assert not step("filter", explained(nested, change(TX, on=TODOS, values=(b"1", None)))).hint
    every = ROW_KINDS | {Kind.TRUNCATE}
    explanation = explained(Entry(1, every, conditions=(MILK,)), change(TX, on=TODOS, kind=Kind.TRUNCATE))
    assert explanation.delivery is Delivery.HELD_BACK
    assert explained(Entry(1, every), change(TX, on=TODOS, kind=Kind.TRUNCATE)).delivery is Delivery.DELIVERED


@pytest.mark.parametrize(
    "text",
    [
        "id=eq.5",
        "id=not.gte.5",
        'title=in.(milk,"tea, green",null,"null")',
        'title=isdistinct."null"',
        "title=isdistinct.null",
        "title=eq.null",
        'title=eq.""',
        "title=is.null",
        r'title=like."say \"hi\"%"',
        "or=(id.eq.1,not.and(title.not.is.null,id.gt.6))",
        "not.or=(id.eq.1)",
        "data->a->>0=eq.1",
        "data->a=is.null",
        'or=("data->>a.b".eq.1)',
    ],
)
async def test_a_part_is_written_as_a_filter_reads_it(text: str):
    shapes = (("id", INT8), ("title", TEXT), ("data", TypeShape(3802, "jsonb")))
    checker = _Checker((_Published(shapes),), _Casting())  # type: ignore[arg-type]
    (part,) = [await checker.part(one) for one in parse_filter(text)]
    assert written(part) == text


class _Published:
    """As much of a published table as a filter is checked against."""

    def __init__(self, columns: tuple[tuple[str, TypeShape], ...]) -> None:
        self.columns = columns


class _Casting:
    """A catalog that casts by leaving everything as it is."""

    async def canonical_text(self, _shape: TypeShape, text: str) -> bytes:
        return text.encode()


def test_the_explanation_agrees_with_the_index():
    operands = [("1",), ("2",)]
    conditions: list[Part] = [
        Condition("id", operator, operand, is_negated)
        for operator, operand, is_negated in itertools.product(("eq", "gt", "lte"), operands, (False, True))
    ]
    filters: list[tuple[Part, ...]] = [(), *[(one,) for one in conditions], *itertools.combinations(conditions, 2)]
    filters += [(Junction(True, two),) for two in itertools.combinations(conditions, 2)]
    changes = [
        change(TX, on=TODOS, kind=kind, values=(value, b"x"))
        for kind, value in itertools.product((Kind.INSERT, Kind.UPDATE, Kind.DELETE), (b"1", b"2", None, ABSENT))
    ]
    for parts, one in itertools.product(filters, changes):
        entry = Entry(1, frozenset({Kind.INSERT, Kind.DELETE}), "public", "todos", parts)
        index: Index[str] = Index()
        index.add("one", [entry])
        explanation = explained(entry, one)
        assert (explanation.delivery is Delivery.DELIVERED) == bool(index.match(one))
        passed = all(each.outcome is Outcome.PASSED for each in explanation.steps)
        assert passed == (explanation.delivery is Delivery.DELIVERED)
