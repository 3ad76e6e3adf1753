"""`pgcast serve`: the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from pgcast.cli.errors import report_errors
from pgcast.cli.logs import set_up_logs
from pgcast.cli.options import SetOption, parse_settings
from pgcast.settings import read_settings

if TYPE_CHECKING:
    from pgcast.app import Server
    from pgcast.settings import Settings


def serve(set_: SetOption = None) -> None:
    """Follow the database and serve its changes over WebSockets; settings come from the environment."""
    with report_errors():
        run_server(read_settings(parse_settings(set_)))


def run_server(settings: Settings) -> None:
    """Run the server until SIGINT or SIGTERM ends it."""
    set_up_logs(settings.log, sys.stderr)
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    from pgcast.app import Server  # noqa: PLC0415 - loaded by this command alone

    server = Server(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    loop.add_signal_handler(signal.SIGHUP, _hang_up, server, _has_terminal())
    await server.run()


def _hang_up(server: Server, had_terminal: bool) -> None:  # noqa: FBT001 - a signal handler's argument
    """Take the signal for a wish to reload, as it is for daemons; when the terminal is gone, for the end."""
    if had_terminal and not _has_terminal():
        server.stop()
    else:
        server.reload()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
