"""The log: one line an event, for people on a terminal, as JSON elsewhere."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from pgcast.settings import LogLevel


def set_up_logs(level: LogLevel, stream: TextIO) -> None:
    """Log to a stream from now on.

    Args:
        level: What is logged.
        stream: Where to.
    """
    number = logging.getLevelNamesMapping()[level.value.upper()]
    is_terminal = stream.isatty()
    last: list[structlog.typing.Processor] = (
        # The traceback that structlog would choose shows variables, and so what is in them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if is_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    # uvicorn's, psycopg's and asyncio's own words: only what is wrong.
    logging.basicConfig(stream=stream, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)
