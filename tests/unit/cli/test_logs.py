from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from pgcast.cli.logs import set_up_logs
from pgcast.settings import LogLevel

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_that_is_no_terminal_has_one_json_object_a_line():
    stream = io.StringIO()
    set_up_logs(LogLevel.INFO, stream)
    structlog.get_logger().info("listening", port=4000)
    (line,) = lines(stream)
    assert (line["event"], line["port"], line["level"]) == ("listening", 4000, "info")
    assert str(line["timestamp"]).endswith("Z")


def test_an_exception_stays_on_its_line():
    stream = io.StringIO()
    set_up_logs(LogLevel.INFO, stream)
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    (line,) = lines(stream)
    assert "ValueError" in str(line["exception"])


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "JSON"])
def test_a_traceback_does_not_show_what_variables_hold(stream: io.StringIO):
    set_up_logs(LogLevel.INFO, stream)

    def authorize(password: str) -> None:
        raise ValueError(len(password))

    number = 2
    try:
        authorize(f"hunter{number}")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "in authorize" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_a_terminal_gets_text_for_people():
    stream = Terminal()
    set_up_logs(LogLevel.INFO, stream)
    structlog.get_logger().info("listening", port=4000)
    assert "listening" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(("level", "count"), [(LogLevel.DEBUG, 3), (LogLevel.INFO, 2), (LogLevel.ERROR, 1)])
def test_what_is_below_the_level_is_not_logged(level: LogLevel, count: int):
    stream = io.StringIO()
    set_up_logs(level, stream)
    log = structlog.get_logger()
    log.debug("one")
    log.info("two")
    log.error("three")
    assert len(lines(stream)) == count


def test_of_the_libraries_only_what_is_wrong_is_logged():
    stream = io.StringIO()
    set_up_logs(LogLevel.DEBUG, stream)
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("asyncio").warning("slow callback")
    assert stream.getvalue() == "WARNING asyncio: slow callback\n"
