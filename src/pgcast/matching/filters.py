r"""What a client writes as a filter, taken apart.

    filter  := segment ("," segment)*                       all must hold
    segment := column "=" condition
             | ["not."] ("and" | "or") "=(" part ("," part)* ")"
    part    := column "." condition
             | ["not."] ("and" | "or") "(" part ("," part)* ")"
    condition := ["not."] operator "." value
    value of `in` := "(" item ("," item)* ")"

Split at commas outside parentheses and double quotes; a quote opens only directly after `.`, `(` or `,`; inside, `\"`
and `\\` are escapes. A segment is split at the first `=`, then at the first `.`; a part at its first `.`, so there a
column whose name has a dot is quoted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from pgcast.model.errors import BindingError

MAX_FILTER_CHARS: Final = 100_000
MAX_IN_ITEMS: Final = 100
MAX_CONDITIONS: Final = 200
MAX_DEPTH: Final = 20

OPERATORS: Final = (
    *("eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"),
)

_OUTER_GROUP: Final = re.compile(r"(not\.)?(and|or)=\((.*)\)", re.DOTALL)
_INNER_GROUP: Final = re.compile(r"(not\.)?(and|or)\((.*)\)", re.DOTALL)
_WORDS: Final = frozenset({"null", "true", "false", "unknown"})


@dataclass(frozen=True, slots=True)
class FilterTerm:
    """One condition as it was written.

    Attributes:
        column: A column's exact name, or a path into one, as in `data->>key`.
        operator: One of OPERATORS.
        operands: What the column is compared with, unquoted: one, or the items of `in`; None is NULL.
        is_negated: Whether `not.` stands before it.
    """

    column: str
    operator: str
    operands: tuple[str | None, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class FilterGroup:
    """Conditions that are joined by `and` or `or`.

    Attributes:
        is_any: Whether one of the parts is enough.
        parts: At least one.
        is_negated: Whether `not.` stands before it.
    """

    is_any: bool
    parts: tuple[FilterPart, ...]
    is_negated: bool = False


FilterPart: TypeAlias = FilterTerm | FilterGroup


class TooManyItems(BindingError):
    """An `in` list that is too long."""


class NoSuchTruth(BindingError):
    """An `is` that names none of the four words."""


def parse_filter(text: str) -> tuple[FilterPart, ...]:
    """Take a filter apart; all of its parts must hold.

    Raises:
        BindingError: The text is no filter; the message is what the client is told, for TooManyItems and NoSuchTruth
            a part of it.
    """
    if len(text) > MAX_FILTER_CHARS:
        raise _unreadable(f"longer than {MAX_FILTER_CHARS} characters")
    parts = tuple(_parse_segment(segment) for segment in _segments(text))
    if sum(map(_count, parts)) > MAX_CONDITIONS:
        raise _unreadable(f"more than {MAX_CONDITIONS} conditions")
    return parts


def _segments(text: str) -> list[str]:
    segments = [segment.strip() for segment in _split(text)]
    if not all(segments):
        raise _unreadable("filter must not contain empty segments (check for extra commas)")
    return segments


def _count(part: FilterPart) -> int:
    return sum(map(_count, part.parts)) if isinstance(part, FilterGroup) else 1


def _parse_segment(segment: str) -> FilterPart:
    group = _OUTER_GROUP.fullmatch(segment)
    if group is not None:
        return _parse_group(group, 1)
    column, equals, condition = segment.partition("=")
    if not (column and equals):
        raise _unreadable(f"{segment[:200]!r} is not column=operator.value")
    return _parse_condition(column.strip(), condition, segment, "column=operator.value")


def _parse_part(part: str, depth: int) -> FilterPart:
    group = _INNER_GROUP.fullmatch(part)
    if group is not None:
        if depth >= MAX_DEPTH:
            raise _unreadable(f"more than {MAX_DEPTH} groups inside each other")
        return _parse_group(group, depth + 1)
    if part.startswith('"'):
        end = _end_of_quoted(part, 0)
        column, dot, condition = _unquote(part[:end]), part[end : end + 1], part[end + 1 :]
    else:
        column, dot, condition = part.partition(".")
    if not column or dot != ".":
        raise _unreadable(f"{part[:200]!r} is not column.operator.value")
    return _parse_condition(column, condition, part, "column.operator.value")


def _parse_group(group: re.Match[str], depth: int) -> FilterGroup:
    negation, word, inside = group.groups()
    parts = tuple(_parse_part(part, depth) for part in _segments(inside))
    return FilterGroup(is_any=word == "or", parts=parts, is_negated=negation is not None)


def _parse_condition(column: str, condition: str, whole: str, form: str) -> FilterTerm:
    is_negated = condition.startswith("not.")
    operator, dot, value = condition.removeprefix("not.").partition(".")
    if not dot:
        raise _unreadable(f"{whole[:200]!r} is not {form}")
    if operator not in OPERATORS:
        raise _unreadable(f"unknown operator {operator[:40]!r}; there are: {', '.join(OPERATORS)}")
    return FilterTerm(column, operator, _operands(operator, value), is_negated)


def _operands(operator: str, value: str) -> tuple[str | None, ...]:
    if operator == "in":
        if not (value.startswith("(") and value.endswith(")")):
            raise _unreadable("`in` filter value must be wrapped by parentheses")
        items = [item.strip() for item in _split(value[1:-1])] if value[1:-1].strip() else []
        if len(items) > MAX_IN_ITEMS:
            raise TooManyItems(f"too many values for `in` filter. Maximum {MAX_IN_ITEMS}")
        if not all(items):
            raise _unreadable('`in` has an empty item; the empty text is written ""')
        return tuple(_null_or_text(item) for item in items)
    if operator == "is":
        if value.lower() not in _WORDS:
            raise NoSuchTruth("invalid value for is filter: must be null, true, false, or unknown")
        return (value.lower(),)
    return (_null_or_text(value) if operator == "isdistinct" else _unquote(value),)


def _null_or_text(value: str) -> str | None:
    return None if value.lower() == "null" else _unquote(value)


def _split(text: str) -> list[str]:
    segments: list[str] = []
    begin = depth = at = 0
    while at < len(text):
        character = text[at]
        if character == '"' and (at == begin or text[at - 1] in ".(,"):
            at = _end_of_quoted(text, at)
            continue
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth <= 0:
            segments.append(text[begin:at])
            begin = at + 1
        at += 1
    segments.append(text[begin:])
    return segments


def _end_of_quoted(text: str, at: int) -> int:
    """Return the place behind a quoted piece that begins at `at`."""
    at += 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == '"':
            return at + 1
        else:
            at += 1
    raise _unreadable("a double quote is not closed")


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or _end_of_quoted(value, 0) != len(value):
        return value
    plain: list[str] = []
    at = 1
    while at < len(value) - 1:
        if value[at] == "\\":
            at += 1
        plain.append(value[at])
        at += 1
    return "".join(plain)


def _unreadable(text: str) -> BindingError:
    return BindingError(f"Error parsing `filter` params: {text}")
