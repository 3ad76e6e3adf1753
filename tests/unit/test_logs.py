"""Where log lines go, and that a program which carries us keeps its own logging."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import structlog

from fix_node import clean_environment
from pgcast.logs import get_logger


def test_it_goes_to_the_program_s_own_logging(caplog: pytest.LogCaptureFixture):
    log = get_logger(__name__)
    with caplog.at_level(logging.INFO):
        log.info("replication stream open", slot="worker")
        log.debug("nobody asked for it")
        try:
            raise ValueError("no good")
        except ValueError:
            log.exception("a handler failed", handler="notes")
    opened, failed = caplog.records
    assert (opened.levelname, opened.getMessage()) == ("INFO", "replication stream open slot='worker'")
    assert (opened.funcName, opened.filename) == ("test_it_goes_to_the_program_s_own_logging", "test_logs.py")
    assert failed.getMessage() == "a handler failed handler='notes'"
    assert failed.exc_info is not None
    assert failed.exc_info[0] is ValueError
    assert failed.name == __name__


def test_a_percent_sign_is_nothing_special(caplog: pytest.LogCaptureFixture):
    get_logger(__name__).warning("100% of it")
    assert caplog.records[0].getMessage() == "100% of it"


def test_an_error_that_is_handed_over_stays_with_the_line(caplog: pytest.LogCaptureFixture):
    error = ValueError("no good")
    get_logger(__name__).error("failed", exc_info=error)
    (record,) = caplog.records
    assert (record.getMessage(), record.exc_info and record.exc_info[1]) == ("failed", error)


def test_a_program_that_has_configured_structlog_gets_the_lines_there(capsys: pytest.CaptureFixture[str]):
    names: list[object] = []

    def factory(*args: object) -> object:
        names.extend(args)
        return structlog.PrintLogger()

    structlog.configure(processors=[structlog.processors.JSONRenderer()], logger_factory=factory)
    get_logger("pgcast.somewhere").warning("it happened", where="here")
    assert capsys.readouterr().out == '{"where": "here", "event": "it happened"}\n'
    assert names == ["pgcast.somewhere"]


PROGRAM = """
import asyncio, contextlib, gc, logging, signal

class Loud(logging.Logger):
    def shout(self): print("SHOUTED")

logging.setLoggerClass(Loud)
import structlog
before = gc.get_threshold(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
import pgcast, pgcast.asgi

async def main():
    with contextlib.suppress(pgcast.DatabaseError):
        async with pgcast.listen("postgresql://nobody@127.0.0.1:1/none"): pass
    server = pgcast.MountedServer(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", SECURE_CHANNELS="false")
    with contextlib.suppress(pgcast.DatabaseError):
        await server.start()

asyncio.run(main())
assert before == (gc.get_threshold(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
assert gc.get_freeze_count() == 0
assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING
assert not structlog.is_configured()
structlog.get_logger().info("my own line")
logging.getLogger("mine").shout()
"""


def test_a_program_s_own_logging_signals_and_collector_stay_as_they_were():
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "my own line" in ran.stdout
    assert "SHOUTED" in ran.stdout
