r"""What a client writes as a filter, taken apart.

    filter  := segment ("," segment)*     all must hold
    segment := column "=" operator "." value

Split at commas outside parentheses and double quotes; a quote opens only directly after `.`, `(` or `,`; inside, `\"`
and `\\` are escapes. Then at the first `=`, then at the first `.`. Of the operators, `eq` is served.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgcast.model.errors import BindingError

MAX_FILTER_CHARS = 100_000
OPERATORS = frozenset({"eq"})


@dataclass(frozen=True, slots=True)
class FilterTerm:
    """One condition as it was written.

    Attributes:
        column: A column's exact name.
        operator: One of OPERATORS.
        value: What the column is compared with, unquoted.
    """

    column: str
    operator: str
    value: str


def parse_filter(text: str) -> tuple[FilterTerm, ...]:
    """Take a filter apart; all of its terms must hold.

    Raises:
        BindingError: The text is no filter; the message is what the client is told.
    """
    if len(text) > MAX_FILTER_CHARS:
        raise BindingError(f"Error parsing `filter` params: longer than {MAX_FILTER_CHARS} characters")
    segments = [segment.strip() for segment in _split(text)]
    if not all(segments):
        raise BindingError(
            "Error parsing `filter` params: filter must not contain empty segments (check for extra commas)"
        )
    return tuple(_parse_term(segment) for segment in segments)


def _parse_term(segment: str) -> FilterTerm:
    column, equals, condition = segment.partition("=")
    operator, dot, value = condition.partition(".")
    if not (column and equals and dot):
        raise BindingError(f"Error parsing `filter` params: {segment[:200]!r} is not column=operator.value")
    if operator not in OPERATORS:
        served = ", ".join(sorted(OPERATORS))
        raise BindingError(
            f"Error parsing `filter` params: unknown operator {operator[:40]!r}; this server has: {served}"
        )
    return FilterTerm(column.strip(), operator, _unquote(value))


def _split(text: str) -> list[str]:
    segments: list[str] = []
    begin = depth = at = 0
    while at < len(text):
        character = text[at]
        if character == '"' and at > 0 and text[at - 1] in ".(,":
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
    raise BindingError("Error parsing `filter` params: a double quote is not closed")


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
