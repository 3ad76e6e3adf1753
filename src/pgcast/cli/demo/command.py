"""The command: what it is told, and what it prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer evaluates the annotation
from typing import Annotated

import typer
import uvloop

from pgcast.cli.demo.environment import foreign_variables
from pgcast.cli.errors import report_errors
from pgcast.cli.logs import set_up_logs
from pgcast.settings import LogLevel, read_settings


def demo(
    port: Annotated[
        int, typer.Option(envvar="PORT", min=0, max=65535, help="The page's port; 0 takes a free one.")
    ] = 4000,
    duration: Annotated[float | None, typer.Option(min=0, help="End after so many seconds; else at Ctrl-C.")] = None,
    rate: Annotated[float, typer.Option(min=0, max=1000, help="Changes a second, on average; 0 for none.")] = 4.0,
    folder: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="In place of the sample: a folder with init.sql and a page."),
    ] = None,
) -> None:
    """Start a Postgres of its own with sample tables and traffic, and a page to watch the changes arrive."""
    from pgcast.cli.demo.running import run_demo  # noqa: PLC0415 - loaded by this command alone

    with report_errors():
        for name in foreign_variables(list(os.environ)):
            del os.environ[name]
        settings = read_settings()
        # What the server would log is for operators; here only what goes wrong matters, unless one asks for more.
        set_up_logs(settings.log if "log" in settings.model_fields_set else LogLevel.ERROR, sys.stderr)
        uvloop.run(run_demo(port=port, rate=rate, duration_s=duration, folder=folder, say=_say))


def _say(text: str) -> None:
    print(f"pgcast demo: {text}", flush=True)  # noqa: T201 - what a command says
