"""`pgcast doctor`: look at a database and print what it lacks, with the SQL that mends it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import typer
from rich.console import Console
from rich.text import Text

from pgcast.cli.errors import report_errors
from pgcast.postgres.checks import check_database
from pgcast.postgres.findings import Finding, Severity
from pgcast.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import Target

_SIGNS: Final = {
    Severity.ERROR: ("error", "bold red"),
    Severity.WARNING: ("warning", "yellow"),
    Severity.INFO: ("note", "cyan"),
}


def doctor() -> None:
    """Check a database and print what it lacks, with the SQL that mends it; changes nothing.

    Settings come from the environment, as for `pgcast serve`.
    """
    from pgcast.app import target_of  # noqa: PLC0415 - loaded by this command alone

    with report_errors():
        settings = read_settings()
        code = run_doctor(
            target_of(settings), slot=settings.slot_name, publications=settings.publications, console=Console()
        )
    raise typer.Exit(code)


def run_doctor(target: Target, *, slot: str, publications: Sequence[str], console: Console) -> int:
    """Check a database and print the findings.

    Args:
        target: The database.
        slot: The name of the replication slot.
        publications: The publications to follow, unquoted.
        console: Where to print.

    Returns:
        The exit code: 0 if pgcast can work with the database, 1 if not.
    """
    findings = asyncio.run(check_database(target, slot=slot, publications=publications))
    for finding in findings:
        _print_finding(finding, console)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    if errors:
        console.print(Text(f"\n{errors} to mend before pgcast can work with this database", style="bold red"))
        return 1
    console.print(Text("\npgcast can work with this database", style="bold green"))
    return 0


def _print_finding(finding: Finding, console: Console) -> None:
    sign, style = ("ok", "green") if finding.is_ok else _SIGNS[finding.severity]
    # Text, not markup: names and SQL may hold square brackets. SQL is not wrapped, so that it can be copied.
    console.print(Text.assemble((f"{sign:>7}", style), "  ", (finding.name, "bold"), "  ", finding.message))
    for line in finding.sql.splitlines():
        console.print(Text(f"{'':9}{line}", style="bold"), soft_wrap=True)
    if finding.hint:
        console.print(Text(f"{'':9}{finding.hint}", style="dim"), soft_wrap=True)
