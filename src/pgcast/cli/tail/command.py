"""The command: what it is told, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from pgcast.cli.errors import report_errors
from pgcast.cli.logs import set_up_logs
from pgcast.cli.tail.lines import line_of
from pgcast.cli.tail.wishes import Event, bindings_of
from pgcast.settings import LogLevel, read_settings

if TYPE_CHECKING:
    from pgcast.settings import Settings


def tail(
    table: Annotated[
        list[str] | None, typer.Option(help="schema.table, table, or schema.*; may be repeated. Default: all.")
    ] = None,
    event: Annotated[
        list[Event] | None, typer.Option(case_sensitive=False, help="Which changes; may be repeated. Default: all.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line: the `data` of the message.")] = False,
) -> None:
    """Print the changes from now on, until Ctrl-C.

    Needs no server and disturbs none: it follows the database of the same settings with a temporary replication slot
    of its own, which is gone when it ends.
    """
    with report_errors():
        bindings = bindings_of(table or (), event or ())
        slot = f"pgcast_tail_{secrets.token_hex(4)}"
        settings = read_settings({"SLOT_NAME": slot, "TEMPORARY_SLOT": "true"})
        set_up_logs(settings.log if "log" in settings.model_fields_set else LogLevel.WARNING, sys.stderr)
        uvloop.run(_tail(settings, bindings, is_json=json))


async def _tail(settings: Settings, bindings: list[dict[str, str]], *, is_json: bool) -> None:
    """Follow until SIGINT or SIGTERM."""
    from pgcast.cli.tail.following import follow  # noqa: PLC0415 - loaded by this command alone

    is_colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def line(data: bytes) -> bytes:
        return (data if is_json else line_of(data, is_colored=is_colored).encode()) + b"\n"

    following = asyncio.create_task(follow(settings, bindings, line, sys.stdout.fileno()))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, following.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await following
