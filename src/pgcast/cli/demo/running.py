"""The demo's server and traffic on one event loop, until somebody says stop, or the time is over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from typing import TYPE_CHECKING

from pgcast.app import Server
from pgcast.cli.demo.rows import rows_route
from pgcast.cli.demo.sample import PUBLICATION
from pgcast.cli.demo.traffic import write_traffic
from pgcast.web.inspector import inspector_routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.settings import Settings


async def run_demo(
    settings: Settings, dsn: str, *, rate: float, duration_s: float | None, when_started: Callable[[int], None]
) -> None:
    """Serve and write; SIGINT and SIGTERM end it in good order.

    Args:
        settings: The server's.
        dsn: The database that is written to.
        rate: Writes a second, on average; 0 for none.
        duration_s: How long to serve; None for ever.
        when_started: Called with the port once clients may come.

    Raises:
        PgcastError: The server does not start: the port is taken, or the database is not as it should be.
    """
    stopped = _stop_signal()
    started = asyncio.get_running_loop().create_future()
    server = Server(settings, [*inspector_routes(), rows_route(dsn, PUBLICATION)])
    serving = asyncio.create_task(server.run(started.set_result), name="server")
    try:
        await asyncio.wait({serving, started, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if started.done() and not stopped.done():
            when_started(started.result())
            writing = asyncio.create_task(_write(dsn, rate), name="traffic")
            try:
                await asyncio.wait({serving, writing, stopped}, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
    finally:
        if started.done():
            server.stop()
        else:
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _write(dsn: str, rate: float) -> None:
    if rate > 0:
        await write_traffic(dsn, rate, random.Random())  # noqa: S311 - a demo's dice
    await asyncio.get_running_loop().create_future()


def _stop_signal() -> asyncio.Future[None]:
    """Return a future that SIGINT or SIGTERM completes."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop() -> None:
        if not stopped.done():
            stopped.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    return stopped
