"""Floor 7: the commands."""

from __future__ import annotations

import typer

from pgcast.cli.demo import demo
from pgcast.cli.serve import serve
from pgcast.cli.tail import tail

app = typer.Typer(
    name="pgcast",
    help="Change data capture and realtime server for PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Change data capture and realtime server for PostgreSQL."""


app.command("serve")(serve)
app.command("demo")(demo)
app.command("tail")(tail)
