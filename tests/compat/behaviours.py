"""A plugin: which test claims which cells of the table of compatibility, and what came of it.

A test says `@pytest.mark.behaviour("row", ...)`. The client is that of the parametrization, or `clients=[...]` names
those that the test runs side by side. With WRITE_COMPATIBILITY set (`make compat`), the run writes the page, unless a
cell is not as it was declared.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compat.clients import Column, column_of
from compat.matrix import ROWS, Kind
from compat.page import counts, render, unclaimed, with_part
from fix_clients import Client

if TYPE_CHECKING:
    from compat.matrix import Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/compatibility.md"
FOLDERS = (ROOT / "tests/clients", ROOT / "tests/compat")

WRITES = "WRITE_COMPATIBILITY" in os.environ

CLAIMS = pytest.StashKey[dict[tuple[str, Column], set[str]]]()
COLLECTED = pytest.StashKey[bool]()

# What came of the tests of a cell: the worst counts.
_ORDER = ("passed", "skipped", "failed")


def cells_of(item: pytest.Item) -> list[tuple[str, Column]]:
    """The cells that a test claims."""
    cells = []
    for mark in item.iter_markers("behaviour"):
        clients = mark.kwargs.get("clients")
        if clients is None:
            clients = [item.callspec.params["client"]]  # type: ignore[attr-defined]
        assert all(isinstance(client, Client) for client in clients), item.nodeid
        for name in mark.args:
            if name not in ROWS:
                raise pytest.UsageError(f"{item.nodeid}: no row {name!r}; tests/compat/matrix.py has {', '.join(ROWS)}")
            cells += [(name, column_of(client)) for client in clients]
    return cells


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    claims: defaultdict[tuple[str, Column], set[str]] = defaultdict(set)
    for item in items:
        cells = cells_of(item)
        for cell in cells:
            claims[cell].add(f"{item.path.relative_to(ROOT)}::{item.name.partition('[')[0]}")
        if cells:
            # Travels with the reports, from worker to controller too.
            item.user_properties.append(("behaviours", [[name, column.name] for name, column in cells]))
    config.stash[CLAIMS] = claims
    modules = {path for folder in FOLDERS for path in folder.glob("test_*.py")}
    is_part = any("::" in argument for argument in config.args)
    config.stash[COLLECTED] = not is_part and modules <= {item.path for item in items}


class Outcomes:
    """What came of the tests, by cell."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, Column], str] = {}
        self.claims: defaultdict[tuple[str, Column], set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        for name, column in dict(report.user_properties).get("behaviours", []):  # type: ignore[union-attr]
            cell = (name, Column[column])
            self.found[cell] = max(self.found.get(cell, "passed"), report.outcome, key=_ORDER.index)
            path, _, test = report.nodeid.partition("::")
            self.claims[cell].add(f"{path}::{test.partition('[')[0]}")

    def word_of(self, row: Row, column: Column) -> str:
        """What a cell says: `yes` only if its tests have run and passed."""
        declared = row.cell(column).kind
        outcome = self.found.get((row.name, column))
        if outcome == "failed":
            return "**FAILED**"
        if declared is Kind.WORKS and outcome != "passed":
            return "**not tested**"
        return declared.value

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        failed = [f"{name}: {column.value}" for (name, column), outcome in self.found.items() if outcome == "failed"]
        for line in failed:
            terminalreporter.line(f"compatibility lost: {line}", red=True)
        if not WRITES:
            return
        part = render(self.claims, self.word_of)
        terminalreporter.line(part)
        terminalreporter.line(f"{len(ROWS)} behaviours, {len(Column)} clients: {counts(self.word_of)}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not WRITES:
            return
        if "failed" in self.found.values() or unclaimed(self.claims):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        PAGE.write_text(with_part(PAGE.read_text(), render(self.claims, self.word_of)))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of xdist tells its controller
        config.pluginmanager.register(Outcomes(), "compatibility")
