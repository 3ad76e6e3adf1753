"""A report for people, and for programs.

    UPDATE of public.todos: held back by filter

      passed        event        UPDATE is wanted
      held back     filter       for the new row, title=eq.tea is unknown
                    true     id=gte.1   [1 with 1, as int8]
                    unknown  title=eq.tea   [NULL with tea, as text]: what is compared with NULL is ...

The verdict comes first, then the steps in order, each with what was compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pgcast.cli.printable import printable
from pgcast.matching.explanation import Delivery, Outcome
from pgcast.model.change import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.cli.explain.asking import Report
    from pgcast.matching.explanation import Judged, Step

_LONGEST: Final = 200
_INDENT: Final = " " * 16


def text_of(report: Report) -> str:
    """Return a report for people, without a line break at its end."""
    return "\n".join(_lines(report))


def json_of(report: Report) -> bytes:
    """Return a report as a JSON object, without a line break."""
    made: dict[str, Any] = {
        "verdict": report.delivery.value,
        "held_back_by": _held_back_by(report),
        "event": report.kind.value,
        "schema": report.place[0] or None,
        "table": report.place[1] or None,
        "position": report.position,
        "steps": [_step(step) for step in report.steps],
    }
    return msgspec.json.encode(made)


def _held_back_by(report: Report) -> list[str]:
    if report.delivery is not Delivery.HELD_BACK:
        return []
    return [step.name for step in report.steps if step.outcome is Outcome.HELD_BACK]


def _lines(report: Report) -> Iterator[str]:
    place = f" of {printable('.'.join(report.place))}" if any(report.place) else ""
    position = f", {report.position}" if report.position is not None else ""
    by = f" by {', '.join(_held_back_by(report))}" if report.delivery is Delivery.HELD_BACK else ""
    yield f"{report.kind.value}{place}{position}: {report.delivery.value}{by}"
    yield ""
    for step in report.steps:
        yield f"  {step.outcome.value:<13} {step.name:<12} {printable(step.detail)}"
        if step.hint:
            yield f"  {'':<13} {'':<12} {printable(step.hint)}"
        for judged in step.conditions:
            yield from _judged_lines(judged, _INDENT)


def _judged_lines(judged: Judged, indent: str) -> Iterator[str]:
    verdict = {True: "true", False: "false"}.get(judged.verdict is True, "false")
    verdict = "unknown" if judged.verdict is None else verdict
    line = f"{indent}{verdict:<8} {printable(judged.text, longest=_LONGEST)}"
    told = _compared(judged)
    yield f"{line}   {told}" if told else line
    for part in judged.parts:
        yield from _judged_lines(part, indent + "  ")


def _compared(judged: Judged) -> str:
    if judged.parts or not judged.type_name:
        return judged.why
    operands = ", ".join(map(_value, judged.operands)) or "nothing"
    value = "not carried" if isinstance(judged.value, Absent) else _value(judged.value)
    by = ", by Postgres" if judged.is_asked else ""
    why = f": {judged.why}" if judged.why else ""
    return f"[{value} with {operands}, as {judged.type_name}{by}]{why}"


def _value(value: bytes | Absent | None) -> str:
    if value is None:
        return "NULL"
    return "not carried" if isinstance(value, Absent) else printable(_text(value), longest=_LONGEST)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _step(step: Step) -> dict[str, Any]:
    made: dict[str, Any] = {"step": step.name, "outcome": step.outcome.value, "detail": step.detail}
    if step.hint:
        made["hint"] = step.hint
    if step.conditions:
        made["conditions"] = [_condition(judged) for judged in step.conditions]
    return made


def _condition(judged: Judged) -> dict[str, Any]:
    made: dict[str, Any] = {"condition": judged.text, "verdict": judged.verdict}
    if judged.why:
        made["why"] = judged.why
    if judged.parts:
        made["parts"] = [_condition(part) for part in judged.parts]
    elif judged.type_name:
        is_carried = not isinstance(judged.value, Absent)
        made["is_carried"] = is_carried
        made["value"] = _text(judged.value) if isinstance(judged.value, bytes) else None
        made["compared_with"] = [None if one is None else _text(one) for one in judged.operands]
        made["type"] = judged.type_name
        made["decided_by"] = "Postgres" if judged.is_asked else "pgcast"
    return made
