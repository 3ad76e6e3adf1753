"""Why an entry wants a change, or does not: what the tests that decide have said, step by step.

Nothing is decided here a second time. The verdict is that of a Scan, a condition's that of the test that Scan and Index
make of it; what is added is the text, the values that were compared, and why a verdict is neither true nor false.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from pgcast.matching.conditions import PENDING, Condition, compared_value, question_of, test_of
from pgcast.matching.scan import Scan, verdicts
from pgcast.model.change import ABSENT, Absent, Kind

if TYPE_CHECKING:
    from pgcast.matching.conditions import Ask, Part, Verdict
    from pgcast.matching.index import Entry
    from pgcast.model.change import Change, Values
    from pgcast.model.relation import Table, TypeShape


class Outcome(Enum):
    """What a step does with a change."""

    PASSED = "passed"
    HELD_BACK = "held back"
    SKIPPED = "not looked at"


class Delivery(Enum):
    """What becomes of a change."""

    DELIVERED = "delivered"
    LEFT = "delivered as left"
    HELD_BACK = "held back"


@dataclass(frozen=True, slots=True)
class Judged:
    """A condition, or a group of them, and what its test says of a row.

    Attributes:
        text: As it would be written in a filter.
        verdict: True, False, or None for unknown; PENDING while Postgres has not answered.
        why: Why it is unknown; else empty.
        value: What was compared, as Postgres prints it; None for NULL, ABSENT where there is none.
        operands: With what, as Postgres prints it.
        type_name: The type of both; empty for a group.
        is_asked: Whether Postgres decided.
        parts: Of a group.
    """

    text: str
    verdict: Verdict
    why: str = ""
    value: bytes | Absent | None = ABSENT
    operands: tuple[bytes | None, ...] = ()
    type_name: str = ""
    is_asked: bool = False
    parts: tuple[Judged, ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether Postgres has yet to say something of it."""
        return self.verdict is PENDING or any(part.is_pending for part in self.parts)

    @property
    def is_missing(self) -> bool:
        """Whether a value is not there that it is about."""
        return self.why == _NOT_CARRIED or any(part.is_missing for part in self.parts)


@dataclass(frozen=True, slots=True)
class Step:
    """One of the things that let a change through or hold it back.

    Attributes:
        name: A word.
        outcome: What it does with the change.
        detail: One line: what was found.
        hint: What would be right; may be empty.
        conditions: Of a filter.
    """

    name: str
    outcome: Outcome
    detail: str
    hint: str = ""
    conditions: tuple[Judged, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """All steps, in order, and what they come to."""

    delivery: Delivery
    steps: tuple[Step, ...]


_ANY: Final = "*"
_NEW_ROW: Final = "the new row"
_NOT_CARRIED: Final = "the change does not carry this column"
_FULL: Final = "with REPLICA IDENTITY FULL the WAL carries the whole old row"


def explain(entry: Entry, change: Change, ask: Ask | None) -> Explanation | None:
    """Explain what becomes of a change for an entry; None while an answer of Postgres' is missing: explain again then.

    Args:
        entry: What is wanted.
        change: The change.
        ask: Says what Postgres says of a value.
    """
    found = Scan([entry], ask).match(change, lambda _: True)
    steps = (_event(entry, change), _table(entry, change), *_filter(entry, change, ask))
    if found is None or any(one.is_pending for step in steps for one in step.conditions):
        return None
    delivery = Delivery.DELIVERED if found.ids else Delivery.LEFT if found.left else Delivery.HELD_BACK
    return Explanation(delivery, steps)


def judge(part: Part, table: Table, values: Values, ask: Ask | None) -> Judged:
    """Return what a part of a filter says of a row."""
    verdict = test_of((part,), table, ask)(values)
    if isinstance(part, Condition):
        return _judge_condition(part, verdict, table, values, ask)
    parts = tuple(judge(inner, table, values, ask) for inner in part.parts)
    why = "what is unknown decides" if verdict is None else ""
    return Judged(written(part), verdict, why, parts=parts)


def written(part: Part, *, is_inner: bool = False) -> str:
    """Return a part as it would be written in a filter.

    Args:
        part: A condition or a group.
        is_inner: Whether it stands inside a group.
    """
    negation = "not." if part.is_negated else ""
    if isinstance(part, Condition):
        column = part.column + "".join(f"->{step}" for step in part.path[:-1])
        if part.path:
            column += f"{'->>' if part.is_text else '->'}{part.path[-1]}"
        if is_inner and "." in column:
            column = _quoted(column)
        operands = [_operand(text, part.operator) for text in part.operands]
        value = f"({','.join(operands)})" if part.operator == "in" else "".join(operands)
        return f"{column}{'.' if is_inner else '='}{negation}{part.operator}.{value}"
    word = f"{negation}{'or' if part.is_any else 'and'}{'' if is_inner else '='}"
    return f"{word}({','.join(written(inner, is_inner=True) for inner in part.parts)})"


def _operand(text: str | None, operator: str) -> str:
    if text is None or operator == "is":
        return text or "null"
    looks_like_null = text.lower() == "null" and operator in {"in", "isdistinct"}
    needs_quotes = looks_like_null or text != text.strip() or not text or any(mark in ',()"' for mark in text)
    return _quoted(text) if needs_quotes else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _event(entry: Entry, change: Change) -> Step:
    wanted = ", ".join(kind.value for kind in Kind if kind in entry.kinds)
    if change.kind in entry.kinds:
        return Step("event", Outcome.PASSED, f"{change.kind.value} is wanted")
    hint = "" if change.kind is Kind.TRUNCATE else f"ask for {change.kind.value}, or for *"
    return Step("event", Outcome.HELD_BACK, f"{change.kind.value}, and wanted is {wanted}", hint)


def _table(entry: Entry, change: Change) -> Step:
    table = f"{change.table.schema}.{change.table.name}"
    wanted = f"{entry.schema or _ANY}.{entry.table or _ANY}"
    if entry.concerns_table(change.table):
        return Step("table", Outcome.PASSED, table if table == wanted else f"{table} is one of {wanted}")
    return Step(
        "table", Outcome.HELD_BACK, f"{table}, and wanted is {wanted}", "names are exact; only * stands for all"
    )


def _filter(entry: Entry, change: Change, ask: Ask | None) -> tuple[Step, ...]:
    """Return the step of the filter, and, where it tells that a row has left, that of `leave`."""
    table = change.table
    if not entry.concerns_table(table):
        return (Step("filter", Outcome.SKIPPED, "it is about another table"),)
    if not entry.conditions:
        return (Step("filter", Outcome.PASSED, "there is none: every row is wanted"),)
    values = change.old_values if change.kind is Kind.DELETE else change.values
    if values is None:
        return (Step("filter", Outcome.HELD_BACK, f"{change.kind.value} has no row, which a filter could pass"),)
    wants, is_left = verdicts(entry, test_of(entry.conditions, table, ask), change)
    row = "what the WAL tells of the old row" if change.kind is Kind.DELETE else _NEW_ROW
    step = _filter_step("filter", entry, table, values, ask, wants, row)
    if not entry.leave or change.kind is not Kind.UPDATE or change.old_values is None or wants is True:
        return (step,)
    return step, _filter_step("leave", entry, table, change.old_values, ask, is_left, "the old row")


def _filter_step(
    name: str, entry: Entry, table: Table, values: Values, ask: Ask | None, verdict: Verdict, row: str
) -> Step:
    conditions = tuple(judge(part, table, values, ask) for part in entry.conditions)
    if verdict is True:
        passed = "the old row passed it, and who asked for `leave` is told" if name == "leave" else f"{row} passes it"
        return Step(name, Outcome.PASSED, passed, conditions=conditions)
    failed = [one.text for one in conditions if one.verdict is False]
    unknown = [one.text for one in conditions if one.verdict is None]
    reasons = [f"{' and '.join(failed)} {'is' if len(failed) == 1 else 'are'} false"] if failed else []
    reasons += [f"{' and '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} unknown"] if unknown else []
    is_old_missing = row != _NEW_ROW and any(one.is_missing for one in conditions)
    return Step(
        name, Outcome.HELD_BACK, f"for {row}, {', '.join(reasons)}", _FULL if is_old_missing else "", conditions
    )


def _judge_condition(condition: Condition, verdict: Verdict, table: Table, values: Values, ask: Ask | None) -> Judged:
    places = {column.name: place for place, column in enumerate(table.relation.columns)}
    place = places.get(condition.column)
    if place is None:
        return Judged(written(condition), verdict, "the table has, or publishes, no such column")
    column_shape = table.types[place]
    shape = condition.shape(column_shape)
    carried = values[place]
    value = carried if isinstance(carried, Absent) else compared_value(condition, column_shape, carried)
    is_asked = question_of(condition, shape) is not None
    return Judged(
        written(condition),
        verdict,
        _why_unknown(condition, shape, carried, value, ask) if verdict is None else "",
        value,
        condition.texts(shape),
        shape.name,
        is_asked,
    )


def _why_unknown(
    condition: Condition,
    shape: TypeShape,
    carried: bytes | Absent | None,
    value: bytes | Absent | None,
    ask: Ask | None,
) -> str:
    if isinstance(value, Absent):
        return _NOT_CARRIED
    if value is None:
        found = "nothing stands at this path, which is NULL; " if carried is not None else ""
        return f"{found}what is compared with NULL is neither true nor false"
    if condition.operator == "in" and None in condition.operands:
        return "it is none of the items, but one of them is NULL: neither true nor false"
    if question_of(condition, shape) is not None:
        return "only Postgres can compare it, and could not" if ask is not None else "only Postgres could compare it"
    return f"one of the two is no {shape.name}"
