"""Floor 7: the commands."""

import typer

app = typer.Typer(name="pgcast", no_args_is_help=True, add_completion=False)
