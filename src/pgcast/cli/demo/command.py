"""The command: what it is told, what it prints, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop

from pgcast.cli.demo.environment import foreign_variables
from pgcast.cli.demo.running import run_demo
from pgcast.cli.demo.sample import create_sample
from pgcast.cli.errors import report_errors
from pgcast.cli.logs import set_up_logs
from pgcast.devdb.cluster import Cluster
from pgcast.settings import LogLevel, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def demo(
    port: Annotated[int, typer.Option(envvar="PORT", min=0, max=65535, help="The page's port; 0 takes a free one.")] = (
        4000
    ),
    duration: Annotated[float | None, typer.Option(min=0, help="End after so many seconds; else at Ctrl-C.")] = None,
    rate: Annotated[float, typer.Option(min=0, max=1000, help="Changes a second, on average; 0 for none.")] = 4.0,
) -> None:
    """Start a Postgres of its own with sample tables and traffic, and a page to watch the changes arrive."""
    with report_errors(), _ended_by_signals():
        for name in foreign_variables(list(os.environ)):
            del os.environ[name]
        _say("starting a Postgres of its own ...")
        with Cluster(durable=False) as cluster, _undisturbed_end():
            settings = read_settings(
                {
                    "DATABASE_URL": cluster.dsn(),
                    "PORT": str(port),
                    "PGCAST_BIND": "127.0.0.1",
                    "SECURE_CHANNELS": "false",
                }
            )
            # What the server would log is for operators; here only what goes wrong matters, unless one asks for more.
            set_up_logs(settings.log if "log" in settings.model_fields_set else LogLevel.ERROR, sys.stderr)
            with cluster.connect() as connection:
                create_sample(connection)

            def announce(taken_port: int) -> None:
                _say(f"open http://localhost:{taken_port}/ in a browser; Ctrl-C ends it")
                _say(f'write something yourself: psql "{cluster.dsn()}"')

            uvloop.run(run_demo(settings, cluster.dsn(), rate=rate, duration_s=duration, when_started=announce))


def _say(text: str) -> None:
    print(f"pgcast demo: {text}", flush=True)  # noqa: T201 - what a command says


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the block as Ctrl-C does, but as something that was wanted: without an error."""

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        _ignore_signals()
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, end)
    with contextlib.suppress(KeyboardInterrupt):
        yield


@contextlib.contextmanager
def _undisturbed_end() -> Iterator[None]:
    """After the block nothing interrupts any more: what follows is short, and removes what was made."""
    try:
        yield
    finally:
        _ignore_signals()


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
