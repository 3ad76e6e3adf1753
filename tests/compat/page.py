"""The declared matrix, and which tests claim its cells, to the generated part of the page on compatibility."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.clients import Column
from compat.matrix import MATRIX, ROWS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from compat.matrix import Cell, Row

BEGINS, ENDS = "<!-- found by the tests: make compat -->\n", "<!-- end -->\n"


def render(claims: Mapping[tuple[str, Column], set[str]], word_of: Callable[[Row, Column], str] | None = None) -> str:
    """The table, its notes, and the tests behind each row.

    Args:
        claims: The tests that claim a cell.
        word_of: The first word of a cell; None takes the declared one.
    """
    notes: dict[str, int] = {}

    def text_of(row: Row, column: Column) -> str:
        cell = row.cell(column)
        word = word_of(row, column) if word_of else cell.kind.value
        return f"{word} ({notes.setdefault(cell.note, len(notes) + 1)})" if cell.note else word

    table = [_line(["", *(column.value for column in Column)]), _line(["---", *[":-:"] * len(Column)])]
    for section, rows in MATRIX.items():
        table.append(_line([f"**{section}**", *[""] * len(Column)]))
        table += [_line([row.says, *(text_of(row, column) for column in Column)]) for row in rows]
    numbered = [f"{number}. {note}" for note, number in notes.items()]
    tests = [_line(["", "tests"]), _line(["---", "---"])]
    tests += [_line([row.says, "<br>".join(_tests_of(row, claims))]) for row in ROWS.values()]
    return "\n".join([*table, "", *numbered, "", "## The tests", "", *tests, ""])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _tests_of(row: Row, claims: Mapping[tuple[str, Column], set[str]]) -> list[str]:
    named = set().union(*(claims.get((row.name, column), set()) for column in Column))
    return [f"`{path}` `{test}`" for path, _, test in sorted(name.partition("::") for name in named)]


def unclaimed(claims: Mapping[tuple[str, Column], set[str]]) -> list[tuple[str, Column]]:
    """The cells that say yes, and no test does."""
    cells = [(row, column) for row in ROWS.values() for column in Column]
    return [
        (row.name, column)
        for row, column in cells
        if _needs_test(row.cell(column)) and not claims.get((row.name, column))
    ]


def _needs_test(cell: Cell) -> bool:
    return cell.kind is Kind.WORKS


def with_part(page: str, part: str) -> str:
    """The page with its generated part replaced."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    assert begins, f"the page has no line {BEGINS!r}"
    assert ends, f"the page has no line {ENDS!r}"
    return f"{before}{begins}\n{part}\n{ends}{after}"


def counts(word_of: Callable[[Row, Column], str]) -> dict[str, int]:
    """How often each first word of a cell occurs."""
    words = [word_of(row, column) for row in ROWS.values() for column in Column]
    return {word: words.count(word) for word in sorted(set(words))}
