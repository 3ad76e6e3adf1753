"""`pgcast init`: make what is missing in a database: the publication, and what broadcasts from the database need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pgcast.cli.errors import report_errors
from pgcast.cli.tail.wishes import table_of
from pgcast.model.errors import SettingsError
from pgcast.postgres.preparation import prepare
from pgcast.postgres.setup import Wishes
from pgcast.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.setup import Plan


def init(
    *,
    table: Annotated[
        list[str] | None,
        typer.Option(
            help="A table to publish, as schema.table; may be repeated. A publication that is missing gets all tables "
            "if none is named."
        ),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="Also the schema realtime, for broadcasts from the database and private channels, the functions of "
            "the schema auth, and pgcast.send.",
        ),
    ] = False,
    send: Annotated[
        bool, typer.Option("--send", help="Also pgcast.send, which broadcasts without a table (PostgreSQL 14+).")
    ] = False,
    roles: Annotated[
        bool,
        typer.Option(
            "--roles", help="Also the roles anon, authenticated and service_role, as which clients act; without LOGIN."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL instead of running it; changes nothing.")
    ] = False,
) -> None:
    """Make what is missing in the database; running it again makes nothing twice.

    Settings come from the environment, as for `pgcast serve`. Everything happens in one transaction.
    """
    from pgcast.app import target_of  # noqa: PLC0415 - loaded by this command alone

    with report_errors():
        settings = read_settings()
        wishes = Wishes(
            publications=settings.publications,
            tables=tuple(dict.fromkeys(_table_of(text) for text in table or ())),
            has_realtime=realtime,
            has_send=send,
            has_roles=roles,
        )
        plan = asyncio.run(prepare(target_of(settings), wishes, is_dry=dry_run))
        if dry_run:
            print_script(plan, Console(), Console(stderr=True))
        else:
            print_plan(plan, Console())


def print_plan(plan: Plan, console: Console) -> None:
    """Print what was made."""
    for step in plan.steps:
        console.print(Text.assemble(("   made", "green"), "  ", step.why), soft_wrap=True)
    _print_notes(plan.notes, console)
    if not plan.steps:
        console.print(Text("nothing is missing", style="bold green"))


def print_script(plan: Plan, console: Console, remarks: Console) -> None:
    """Print the SQL as a script for psql; what is no SQL goes elsewhere."""
    if plan.steps:
        lines = ["BEGIN;"]
        for step in plan.steps:
            lines += ["", f"-- {' '.join(step.why.split())}", *step.statements]
        for line in [*lines, "", "COMMIT;"]:
            console.print(Text(line), soft_wrap=True)
    else:
        console.print(Text("-- nothing is missing"))
    _print_notes(plan.notes, remarks)


def _print_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text.assemble(("   note", "cyan"), "  ", note), soft_wrap=True)


def _table_of(text: str) -> tuple[str, str]:
    place = table_of(text)
    if "table" not in place:
        raise SettingsError(
            f"--table: expected one table (found {text[:80]!r})", hint="write public.todos; or name none, for all"
        )
    return place["schema"], place["table"]
