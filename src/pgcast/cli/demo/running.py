"""The demo from beginning to end, on one event loop: Postgres, the server and the traffic, and then nothing of it.

Signals only complete a future here; they interrupt nothing. So each step ends before the next begins, and whatever was
made is there to be removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shlex
import shutil
import signal
from typing import TYPE_CHECKING, Any

from pgcast.app import Server
from pgcast.cli.demo.folder import check_folder, folder_routes, run_init
from pgcast.cli.demo.rows import rows_route
from pgcast.cli.demo.sample import PUBLICATION, create_sample
from pgcast.cli.demo.traffic import write_traffic
from pgcast.devdb.binaries import find_binaries
from pgcast.devdb.cluster import Cluster
from pgcast.settings import read_settings
from pgcast.web.inspector import inspector_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from starlette.routing import BaseRoute


async def run_demo(
    *, port: int, rate: float, duration_s: float | None, folder: Path | None, say: Callable[[str], None]
) -> None:
    """Run it until SIGINT, SIGTERM or the end of its time; then remove what it made.

    Args:
        port: The page's port; 0 takes a free one.
        rate: Writes a second, on average; 0 for none.
        duration_s: How long to serve; None for ever.
        folder: Serves this page on a database that its init.sql makes, without traffic; None for the sample.
        say: Called with each line for people.

    Raises:
        PgcastError: Postgres or the server does not start.
    """
    stopped = _stop_signal()
    if folder is not None:
        check_folder(folder)
        rate = 0.0
    say("starting a Postgres of its own ...")
    cluster = Cluster(durable=False)
    try:
        await asyncio.to_thread(_prepare, cluster, folder)
        if not stopped.done():
            routes = inspector_routes() if folder is None else folder_routes(folder)
            await _serve(cluster.dsn(), routes, port, rate, duration_s, say, stopped)
    finally:
        await asyncio.to_thread(cluster.remove)


def _prepare(cluster: Cluster, folder: Path | None) -> None:
    cluster.start()
    with cluster.connect() as connection:
        if folder is None:
            create_sample(connection)
        else:
            run_init(connection, folder)


async def _serve(
    dsn: str,
    routes: Sequence[BaseRoute],
    port: int,
    rate: float,
    duration_s: float | None,
    say: Callable[[str], None],
    stopped: asyncio.Future[None],
) -> None:
    settings = read_settings(
        {"DATABASE_URL": dsn, "PORT": str(port), "PGCAST_BIND": "127.0.0.1", "SECURE_CHANNELS": "false"}
    )
    server = Server(settings, [rows_route(dsn, PUBLICATION), *routes])
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(server.run(started.set_result), name="server")
    first: set[asyncio.Future[Any]] = {serving, started, stopped}
    try:
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            say(f"open http://localhost:{started.result()}/ in a browser; Ctrl-C ends it")
            say(f'write something yourself: {_psql()} "{dsn}"')
            writing = asyncio.create_task(_write(dsn, rate), name="traffic")
            # Server and traffic end by themselves only if something is wrong with them.
            await asyncio.wait({serving, writing, stopped}, timeout=duration_s, return_when=asyncio.FIRST_COMPLETED)
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
    finally:
        if started.done():
            server.stop()
        else:
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _psql() -> str:
    """Return how to call psql: the one that is installed, else the embedded Postgres' own."""
    return "psql" if shutil.which("psql") else shlex.quote(str(find_binaries().program("psql")))


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
