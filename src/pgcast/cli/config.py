"""`pgcast config`: print the settings that are in force, and where each comes from; secrets masked."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from pydantic import SecretStr
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgcast.cli.errors import report_errors
from pgcast.cli.options import SetOption, parse_settings
from pgcast.cli.variables import MASK, text_of
from pgcast.environment import Origin
from pgcast.settings import IGNORED, Settings, collect_settings, ignored_variables, make_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgcast.environment import Given


def config(
    set_: SetOption = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Print the settings that are in force, and where each comes from; secrets masked. Connects to nothing."""
    with report_errors():
        given = collect_settings(parse_settings(set_))
        settings = make_settings(given)
        if json:
            print(as_json(settings, given))  # noqa: T201 - what a command says
        else:
            print_settings(settings, given, ignored_variables(), Console())


def as_json(settings: Settings, given: Mapping[str, Given]) -> str:
    """Return an object of the variables: each has `value`, `origin`, and `file` where a file held it."""
    rows: dict[str, dict[str, Any]] = {}
    for name, field in Settings.model_fields.items():
        one = given.get(str(field.alias))
        row = {"value": _plain(getattr(settings, name)), "origin": (one.origin if one else Origin.DEFAULT).value}
        rows[str(field.alias)] = row if one is None or one.file is None else {**row, "file": one.file}
    return orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()


def print_settings(settings: Settings, given: Mapping[str, Given], ignored: list[str], console: Console) -> None:
    """Print a table, what is not a default in bold, and below it what has no effect."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("setting", "value", "from"):
        table.add_column(title, overflow="fold")
    for name, field in Settings.model_fields.items():
        one = given.get(str(field.alias))
        origin = "default" if one is None else one.file or one.origin.value
        # Text, not markup: a value may hold square brackets.
        row = (str(field.alias), text_of(getattr(settings, name)), origin)
        table.add_row(*map(Text, row), style="dim" if one is None else "bold")
    console.print(table)
    for variable in ignored:
        console.print(Text(f"{variable} has no effect: {IGNORED[variable]}"), soft_wrap=True)


def _plain(value: object) -> object:
    """Return a value as JSON has it."""
    match value:
        case SecretStr():
            return MASK
        case Enum():
            return value.value
        case Path():
            return str(value)
    return value
