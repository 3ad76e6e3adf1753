"""A filter as it is tested: conditions on columns, SQL's three values, and what must be asked of Postgres.

A condition is made at subscribe time, and turned into a test for each table that it meets. A test gives True, False,
None for unknown, or PENDING: only Postgres can say, and has not been heard yet. What is not available (a DELETE and a
column outside the replica identity, an unchanged TOAST value, a column that is not there) is unknown.

Source: PostgreSQL, chapter "Comparison Functions and Operators"; the realtime protocol's filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from pgcast.matching.likes import like_test
from pgcast.matching.predicates import TEXTS, equality_key, order_key, resolve, same
from pgcast.matching.texts import json_at, json_text
from pgcast.model.change import Absent
from pgcast.model.relation import Collation, TypeShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgcast.matching.predicates import KeyFunction
    from pgcast.model.change import Values
    from pgcast.model.relation import Table

    Ask = Callable[["Question", bytes], "Verdict"]
    Test = Callable[[Values], "Verdict"]
    ValueTest = Callable[["bytes | None"], "Verdict"]


class Pending:
    """The type of PENDING."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending()
"""Stands for an answer of Postgres' that has not come yet."""

Verdict: TypeAlias = bool | Pending | None

RANGES: Final = frozenset({"lt", "lte", "gt", "gte"})
PATTERNS: Final = frozenset({"like", "ilike", "match", "imatch"})

JSON_TEXT: Final = TypeShape(25, "text", collation=Collation('pg_catalog."default"', False, True, False))


@dataclass(frozen=True, slots=True)
class Question:
    """What only Postgres can say of a value: `value::type COLLATE collation operator operands`.

    Attributes:
        type_oid: The column's type.
        collation: As SQL says it; None for the type's own.
        operator: One of the filter language's.
        operands: What the value is compared with; None is NULL.
    """

    type_oid: int
    collation: str | None
    operator: str
    operands: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a column, or of what stands at a path in it.

    Attributes:
        column: The column's name.
        operator: One of the filter language's.
        operands: As the client wrote them; None is NULL.
        is_negated: Whether it is inverted.
        path: Where in the column's json value to look; empty for the column itself.
        is_text: Whether what stands there is taken as text (`->>`).
        canonical: For each type (its OID) the column was seen to have, the operands as Postgres prints them.
    """

    column: str
    operator: str
    operands: tuple[str | None, ...]
    is_negated: bool = False
    path: tuple[str | int, ...] = ()
    is_text: bool = False
    canonical: tuple[tuple[int, tuple[bytes | None, ...]], ...] = ()

    def shape(self, column: TypeShape) -> TypeShape:
        """Return the type of what is compared, given the column's."""
        if not self.path:
            return column
        return JSON_TEXT if self.is_text else resolve(column)[0]

    def texts(self, shape: TypeShape) -> tuple[bytes | None, ...]:
        """Return the operands as a value of this type would be printed."""
        for oid, texts in self.canonical:
            if oid == shape.oid:
                return texts
        return tuple(None if text is None else text.encode() for text in self.operands)


@dataclass(frozen=True, slots=True)
class Junction:
    """Conditions joined by OR or AND, possibly inverted as a whole."""

    is_any: bool
    parts: tuple[Part, ...]
    is_negated: bool = False


Part: TypeAlias = Condition | Junction


def conditions_in(parts: Sequence[Part]) -> Iterator[Condition]:
    """Go through all conditions of some parts, those in junctions too."""
    for part in parts:
        if isinstance(part, Condition):
            yield part
        else:
            yield from conditions_in(part.parts)


def question_of(condition: Condition, shape: TypeShape) -> Question | None:
    """Return what must be asked of Postgres for a condition on values of this type; None if that is nothing.

    Args:
        condition: The condition.
        shape: Of what is compared: `condition.shape(column)`.
    """
    base, collation = resolve(shape)
    operator = condition.operator
    if operator == "is":
        is_decidable = True
    elif operator in RANGES:
        is_decidable = order_key(shape) is not None
    elif operator in PATTERNS:
        is_plain = base.name in TEXTS and (collation is None or collation.is_deterministic)
        is_folding = base.name == "name" or (collation is not None and collation.folds_ascii)
        is_decidable = is_plain and (operator == "like" or (operator == "ilike" and is_folding))
    else:
        is_decidable = equality_key(shape) is not None
    if is_decidable:
        return None
    return Question(shape.oid, None if collation is None else collation.name, operator, condition.operands)


def test_of(parts: Sequence[Part], table: Table, ask: Ask | None) -> Test:
    """Return the test of rows of a table; all parts must hold.

    Args:
        parts: The filter.
        table: Whose rows.
        ask: Says what Postgres says of a value; without it, what only Postgres can say is unknown.
    """
    return _joined([_part_test(part, table, ask) for part in parts], decisive=False)


def _part_test(part: Part, table: Table, ask: Ask | None) -> Test:
    if isinstance(part, Condition):
        return _condition_test(part, table, ask)
    tests = [_part_test(inner, table, ask) for inner in part.parts]
    joined = _joined(tests, decisive=part.is_any)
    return _not(joined) if part.is_negated else joined


def _condition_test(condition: Condition, table: Table, ask: Ask | None) -> Test:
    for place, (column, shape) in enumerate(zip(table.relation.columns, table.types, strict=True)):
        if column.name == condition.column:
            return _at(place, value_test(condition, shape, ask))
    return _unknown


def _at(place: int, test: ValueTest) -> Test:
    def test_row(values: Values) -> Verdict:
        value = values[place]
        return None if isinstance(value, Absent) else test(value)

    return test_row


def _unknown(_: object) -> None:
    return None


def value_test(condition: Condition, column: TypeShape, ask: Ask | None) -> ValueTest:
    """Return the test of one column's values: their text, or None for NULL."""
    shape = condition.shape(column)
    question = question_of(condition, shape)
    try:
        if question is None:
            test = _decided(condition, shape)
        elif ask is None:
            return _unknown
        else:
            test = _asked(question, ask)
    except ValueError:
        return _unknown  # the column has another type now, for which the filter's value is none
    if condition.is_negated:
        test = _not_value(test)
    if not condition.path:
        return test
    return lambda value: test(compared_value(condition, column, value))


def compared_value(condition: Condition, column: TypeShape, value: bytes | None) -> bytes | None:
    """Return what is compared of a column's value: what stands at the condition's path in it, or the value."""
    if not condition.path or value is None:
        return value
    found = json_at(value, condition.path, is_binary=resolve(column)[0].name == "jsonb")
    return json_text(found) if condition.is_text and found is not None else found


def _decided(condition: Condition, shape: TypeShape) -> ValueTest:
    operator = condition.operator
    texts = condition.texts(shape)
    if operator == "is":
        return _is(condition.operands[0] or "null")
    if operator in PATTERNS:
        return _strict(like_test(condition.operands[0] or "", folds_ascii=operator == "ilike"))
    key_of = order_key(shape) if operator in RANGES else equality_key(shape)
    if key_of is None:
        return _unknown  # only Postgres can say: question_of has said so
    if operator == "isdistinct":
        return _distinct(texts[0], key_of)
    if operator == "in":
        keys = {key_of(text) for text in texts if text is not None}
        has_null = len(keys) < len(texts) and None in texts
        return _strict(_member(keys, key_of, has_null=has_null))
    return _strict(_comparison(operator, key_of(texts[0] or b""), key_of))


def _is(word: str) -> ValueTest:
    if word in {"null", "unknown"}:
        return lambda value: value is None
    wanted = b"t" if word == "true" else b"f"
    return lambda value: value == wanted


def _distinct(text: bytes | None, key_of: KeyFunction) -> ValueTest:
    if text is None:
        return lambda value: value is not None
    key = key_of(text)
    differs = _strict(lambda value: bool(key_of(value) != key))
    return lambda value: True if value is None else differs(value)


def _member(keys: set[object], key_of: KeyFunction, *, has_null: bool) -> Callable[[bytes], Verdict]:
    return lambda value: True if key_of(value) in keys else None if has_null else False


def _comparison(operator: str, key: object, key_of: KeyFunction) -> Callable[[bytes], Verdict]:
    if key_of is same and operator == "eq":
        return lambda value: value == key
    compare = {
        "eq": lambda value: key_of(value) == key,
        "neq": lambda value: key_of(value) != key,
        "lt": lambda value: key_of(value) < key,
        "lte": lambda value: key_of(value) <= key,
        "gt": lambda value: key_of(value) > key,
        "gte": lambda value: key_of(value) >= key,
    }
    test: Callable[[bytes], Verdict] = compare[operator]
    return test


def _strict(test: Callable[[bytes], Verdict]) -> ValueTest:
    """NULL is unknown, and so is a text that is none of its type's."""

    def test_value(value: bytes | None) -> Verdict:
        if value is None:
            return None
        try:
            return test(value)
        except ValueError:
            return None

    return test_value


def _asked(question: Question, ask: Ask) -> ValueTest:
    if question.operator == "isdistinct":
        # NULL never needs a question: it is distinct from all but itself.
        if question.operands[0] is None:
            return lambda value: value is not None
        return lambda value: True if value is None else ask(question, value)
    return lambda value: None if value is None else ask(question, value)


def _not_value(test: ValueTest) -> ValueTest:
    def inverted(value: bytes | None) -> Verdict:
        verdict = test(value)
        return not verdict if isinstance(verdict, bool) else verdict

    return inverted


def _not(test: Test) -> Test:
    def inverted(values: Values) -> Verdict:
        verdict = test(values)
        return not verdict if isinstance(verdict, bool) else verdict

    return inverted


def _joined(tests: Sequence[Test], *, decisive: bool) -> Test:
    """AND, for which one false is decisive, or OR, for which one true is; then what is pending wins, then unknown."""
    if len(tests) == 1:
        return tests[0]

    def test_row(values: Values) -> Verdict:
        result: Verdict = not decisive
        for test in tests:
            verdict = test(values)
            if verdict is decisive:
                return decisive
            if not isinstance(verdict, bool) and result is not PENDING:
                result = verdict
        return result

    return test_row
