"""What is logged inside another program: to Python's own logging, under `pgcast`, unless structlog is set up there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger


def log_to_standard_logging() -> None:
    """Send what is logged to `logging`, as one line of text each; nothing happens where structlog is configured."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, line_of],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def line_of(logger: WrappedLogger, method: str, event: EventDict) -> tuple[tuple[str, str], dict[str, Any]]:
    """Return the arguments of a call of `logging`: the event, and behind it what belongs to it."""
    del logger
    error = event.pop("exc_info", None)
    words = [str(event.pop("event")), *(f"{name}={value!r}" for name, value in event.items())]
    return ("%s", " ".join(words)), {} if error is None or method == "exception" else {"exc_info": error}
