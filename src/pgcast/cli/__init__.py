"""Floor 7: the commands. What only one of them needs is loaded by it, for a health check runs every few seconds."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from pgcast.cli.config import config
from pgcast.cli.demo import demo
from pgcast.cli.doctor import doctor
from pgcast.cli.explain import explain
from pgcast.cli.health import health
from pgcast.cli.init import init
from pgcast.cli.serve import serve
from pgcast.cli.tail import tail
from pgcast.cli.variables import ListingCommand
from pgcast.cli.webhooks import webhooks

app = typer.Typer(
    name="pgcast",
    help="Change data capture and realtime server for PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001 - how typer calls it
    if is_wanted:
        typer.echo(f"pgcast {version('pgcast')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Change data capture and realtime server for PostgreSQL."""


app.command("serve", cls=ListingCommand)(serve)
app.command("demo")(demo)
app.command("init")(init)
app.command("doctor")(doctor)
app.command("explain")(explain)
app.command("tail")(tail)
app.command("config")(config)
app.command("health")(health)
app.add_typer(webhooks, name="webhooks")
