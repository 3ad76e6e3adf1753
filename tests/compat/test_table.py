"""The table of compatibility: as declared, as the tests claim, as the documentation shows it."""

from __future__ import annotations

import pytest

from compat.behaviours import CLAIMS, COLLECTED, PAGE, WRITES, Outcomes
from compat.clients import Column
from compat.matrix import MATRIX, ROWS, Kind
from compat.page import render, unclaimed, with_part


def test_every_cell_that_says_yes_has_a_test(request: pytest.FixtureRequest):
    if not request.config.stash[COLLECTED]:
        pytest.skip("only part of the tests that claim cells was collected")
    assert unclaimed(request.config.stash[CLAIMS]) == []


def test_no_test_claims_what_a_client_does_not_have(request: pytest.FixtureRequest):
    claimed = request.config.stash[CLAIMS]
    assert [cell for cell in claimed if ROWS[cell[0]].cell(cell[1]).kind is Kind.NO_FEATURE] == []


@pytest.mark.skipif(WRITES, reason="the page is being written")
def test_the_page_shows_what_is_declared_and_claimed(request: pytest.FixtureRequest):
    if not request.config.stash[COLLECTED]:
        pytest.skip("only part of the tests that claim cells was collected")
    page = PAGE.read_text()
    assert page == with_part(page, render(request.config.stash[CLAIMS])), "`make compat` writes the page anew"


def test_whatever_is_no_plain_yes_says_why():
    for row in ROWS.values():
        for column in Column:
            cell = row.cell(column)
            assert cell.kind is Kind.WORKS or cell.note.endswith("."), f"{row.name}, {column.value}"


def test_a_row_has_a_name_of_its_own():
    assert len(ROWS) == sum(map(len, MATRIX.values()))


def report_of(outcome: str, when: str = "call") -> pytest.TestReport:
    cells = [("behaviours", [["self", "JS_V2"]])]
    return pytest.TestReport("tests/a.py::test_b[x]", ("", 0, ""), {}, outcome, None, when, user_properties=cells)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reports", "word"),
    [
        ([], "**not tested**"),
        ([report_of("passed")], "yes"),
        ([report_of("passed", "setup")], "**not tested**"),
        ([report_of("skipped", "setup")], "**not tested**"),
        ([report_of("passed"), report_of("failed"), report_of("passed")], "**FAILED**"),
        ([report_of("passed"), report_of("failed", "teardown")], "**FAILED**"),
    ],
)
def test_a_cell_says_yes_only_if_all_its_tests_have_passed(reports: list[pytest.TestReport], word: str):
    outcomes = Outcomes()
    for report in reports:
        outcomes.pytest_runtest_logreport(report)
    assert outcomes.word_of(ROWS["self"], Column.JS_V2) == word
    assert outcomes.word_of(ROWS["self"], Column.JS_1_7) == "no feature"
    (line,) = [line for line in render(outcomes.claims, outcomes.word_of).splitlines() if "gets its own" in line][:1]
    assert line.split(" | ")[1] == word


def test_a_cell_without_a_test_is_found():
    claims = {("self", column): {"tests/a.py::test_b"} for column in Column if column is not Column.PY_2_4}
    assert [column for name, column in unclaimed(claims) if name == "self"] == [Column.PY_2_4]
