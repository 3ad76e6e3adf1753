from dataclasses import replace

import pytest
from making import INT8, NUMERIC, TEXT, table

from pgcast.matching.conditions import (
    PENDING,
    Condition,
    Junction,
    Part,
    Question,
    Verdict,
    conditions_in,
    question_of,
)
from pgcast.matching.conditions import (
    test_of as make_test,
)
from pgcast.model.change import ABSENT
from pgcast.model.relation import Collation, TypeShape

FOREIGN = Collation('pg_catalog."de_DE"', is_bytewise=False, is_deterministic=True, folds_ascii=False)
BLIND = replace(FOREIGN, is_deterministic=False)
BYTES = Collation('pg_catalog."C"', is_bytewise=True, is_deterministic=True, folds_ascii=True)
JSONB = TypeShape(3802, "jsonb")
TRUE, FALSE = Condition("a", "eq", ("1",)), Condition("a", "eq", ("2",))
UNKNOWN, ASKED = Condition("missing", "eq", ("1",)), Condition("t", "lt", ("x",))


def verdict(*parts: Part, values: tuple[object, ...] = (b"1", b"x"), answer: Verdict = PENDING) -> Verdict:
    on = table(a=INT8, t=replace(TEXT, collation=FOREIGN))
    return make_test(parts, on, lambda _question, _value: answer)(values)  # type: ignore[arg-type]


def test_and_is_false_first_then_pending_then_unknown():
    assert verdict(TRUE, TRUE) is True
    assert verdict(TRUE, UNKNOWN) is None
    assert verdict(UNKNOWN, FALSE) is False
    assert verdict(UNKNOWN, ASKED) is PENDING
    assert verdict(ASKED, UNKNOWN) is PENDING
    assert verdict(ASKED, FALSE) is False


def test_or_is_true_first_then_pending_then_unknown():
    def either(*parts: Part) -> Verdict:
        return verdict(Junction(is_any=True, parts=parts))

    assert either(FALSE, FALSE) is False
    assert either(UNKNOWN, TRUE) is True
    assert either(UNKNOWN, FALSE) is None
    assert either(UNKNOWN, ASKED) is PENDING
    assert either(ASKED, UNKNOWN) is PENDING
    assert either(ASKED, TRUE) is True


def test_not_leaves_what_is_not_known():
    for part, expected in ((TRUE, False), (FALSE, True), (UNKNOWN, None), (ASKED, PENDING)):
        assert verdict(Junction(is_any=True, parts=(part,), is_negated=True)) is expected
        if part is not UNKNOWN:
            assert verdict(replace(part, is_negated=True)) is expected


@pytest.mark.parametrize("operator", ["eq", "is", "isdistinct", "in"])
def test_what_was_not_sent_is_unknown(operator: str):
    operand = "null" if operator == "is" else "1"
    for is_negated in (False, True):
        assert verdict(Condition("a", operator, (operand,), is_negated), values=(ABSENT, b"x")) is None


def test_postgres_decides_what_it_was_asked():
    asked = []

    def ask(question: Question, value: bytes) -> Verdict:
        asked.append((question, value))
        return True

    test = make_test([ASKED], table(t=replace(TEXT, collation=FOREIGN)), ask)
    assert test((b"abc",)) is True
    assert test((None,)) is None
    assert asked == [(Question(25, 'pg_catalog."de_DE"', "lt", ("x",)), b"abc")]


def test_whether_null_is_distinct_needs_no_question():
    citext = TypeShape(90_000, "citext")
    for operand, value, expected in (("x", None, True), (None, None, False), (None, b"x", True), ("x", b"x", PENDING)):
        condition = Condition("c", "isdistinct", (operand,))
        test = make_test([condition], table(c=citext), lambda _question, _value: PENDING)
        assert test((value,)) is expected


def test_without_anybody_to_ask_it_is_unknown():
    assert make_test([ASKED], table(t=replace(TEXT, collation=FOREIGN)), None)((b"abc",)) is None


@pytest.mark.parametrize(
    ("operator", "shape", "is_asked"),
    [
        ("lt", INT8, False),
        ("lt", replace(TEXT, collation=BYTES), False),
        ("lt", replace(TEXT, collation=FOREIGN), True),
        ("lt", TEXT, True),
        ("eq", replace(TEXT, collation=FOREIGN), False),
        ("eq", replace(TEXT, collation=BLIND), True),
        ("like", replace(TEXT, collation=FOREIGN), False),
        ("like", replace(TEXT, collation=BLIND), True),
        ("ilike", replace(TEXT, collation=BYTES), False),
        ("ilike", replace(TEXT, collation=FOREIGN), True),
        ("match", replace(TEXT, collation=BYTES), True),
        ("imatch", replace(TEXT, collation=BYTES), True),
        ("is", TypeShape(600, "point"), False),
    ],
)
def test_what_only_postgres_can_say_is_asked(operator: str, shape: TypeShape, is_asked: bool):  # noqa: FBT001
    assert (question_of(Condition("c", operator, ("x",)), shape) is not None) is is_asked


def test_a_column_that_has_another_type_now_matches_nothing():
    condition = Condition("c", "lt", ("abc",), canonical=((25, (b"abc",)),))
    assert make_test([condition], table(c=INT8), None)((b"1",)) is None


@pytest.mark.parametrize("operator", ["lt", "eq", "neq", "in", "isdistinct"])
def test_a_text_that_is_none_of_its_type_is_unknown(operator: str):
    condition = Condition("c", operator, ("1",), canonical=((1700, (b"1",)),))
    assert make_test([condition], table(c=NUMERIC), None)((b"garbage",)) is None


def test_a_path_is_compared_as_json_or_as_text():
    as_json = Condition("c", "eq", ("1",), path=("a",), canonical=((3802, (b"1",)),))
    as_text = Condition("c", "eq", ("1",), path=("a",), is_text=True, canonical=((25, (b"1",)),))
    for text, json_holds, text_holds in (
        (b'{"a": 1.0}', True, False),
        (b'{"a": "1"}', False, True),
        (b"{}", None, None),
    ):
        assert make_test([as_json], table(c=JSONB), None)((text,)) is json_holds
        assert make_test([as_text], table(c=JSONB), None)((text,)) is text_holds


def test_all_conditions_are_found():
    assert list(
        conditions_in([TRUE, Junction(is_any=True, parts=(FALSE, Junction(is_any=False, parts=(ASKED,))))])
    ) == [
        TRUE,
        FALSE,
        ASKED,
    ]
