"""The command: what it is told, and how it ends."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from pgcast.cli.errors import report_errors
from pgcast.cli.explain.asked import read_asked
from pgcast.cli.explain.printing import json_of, text_of
from pgcast.cli.logs import set_up_logs
from pgcast.cli.tail.wishes import Event  # noqa: TC001 - typer reads it
from pgcast.matching.explanation import Delivery
from pgcast.model.change import Kind
from pgcast.settings import LogLevel, read_settings

_TROUBLE = 2


def explain(
    binding: Annotated[
        str,
        typer.Argument(
            help="An entry of postgres_changes as JSON, or a topic of the oldest protocol, public:todos:id=eq.5."
        ),
    ],
    row: Annotated[str | None, typer.Option(help="The new row of a change, as a JSON object.")] = None,
    old: Annotated[str | None, typer.Option(help="The old row of an UPDATE or DELETE, as a JSON object.")] = None,
    event: Annotated[
        Event | None, typer.Option(case_sensitive=False, help="What happened. Default: what the rows tell.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="The row's table, schema.table. Default: the one that the binding names.")
    ] = None,
    position: Annotated[
        str | None,
        typer.Option(help="In place of a row: a change's `position`, or its `commit_timestamp`; found in the WAL."),
    ] = None,
    role: Annotated[str | None, typer.Option(help="As whom: the database role of the client's token.")] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per change, each on a line.")] = False,
) -> None:
    """Say why a client gets a change, or does not: publication, join, event, table, filter, privilege.

    Exit code 0 where it is delivered, 1 where it is held back, 2 where that cannot be said. Changes nothing, and
    disturbs no server; settings come from the environment, as for `pgcast serve`.
    """
    from pgcast.cli.explain.asking import explain_all  # noqa: PLC0415 - loaded by this command alone

    with report_errors(failed=_TROUBLE):
        kind = None if event is None else Kind[event.name]
        asked = read_asked(binding, row=row, old=old, event=kind, table=table, position=position, role=role)
        settings = read_settings()
        set_up_logs(settings.log if "log" in settings.model_fields_set else LogLevel.WARNING, sys.stderr)
        reports = asyncio.run(explain_all(settings, asked))
    for number, report in enumerate(reports):
        typer.echo(json_of(report) if json else f"{'' if number == 0 else chr(10)}{text_of(report)}")
    is_delivered = any(report.delivery is not Delivery.HELD_BACK for report in reports)
    raise typer.Exit(0 if is_delivered else 1)
