"""Where log lines go: to structlog where the program has configured it, else to Python's `logging` under `pgcast`.

The commands configure structlog (`cli/logs.py`). Inside somebody else's program nothing may be configured: structlog's
defaults, and the class of `logging`'s loggers, which structlog's own bridge replaces, belong to that program.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

_CALLER: Final = 3
"""Whose place in the code `logging` tells: that of who called one of the methods below."""


class Log:
    """One module's log. A line is an event in words, and what belongs to it by name.

    Args:
        name: The module's.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **words: Any) -> None:
        """Log what only somebody who looks for a mistake wants to know."""
        self._say("debug", event, words)

    def info(self, event: str, **words: Any) -> None:
        """Log what happened in good order."""
        self._say("info", event, words)

    def warning(self, event: str, **words: Any) -> None:
        """Log what somebody should look at."""
        self._say("warning", event, words)

    def error(self, event: str, **words: Any) -> None:
        """Log what did not work."""
        self._say("error", event, words)

    def exception(self, event: str, **words: Any) -> None:
        """Log what did not work, with the exception that is being handled."""
        self._say("exception", event, words)

    def _say(self, method: str, event: str, words: dict[str, Any]) -> None:
        # Who has not even imported it has not configured it; to import it takes a quarter of what `listen` takes.
        structlog = sys.modules.get("structlog")
        if structlog is not None and structlog.is_configured():
            getattr(structlog.get_logger(self._name), method)(event, **words)
            return
        logger = logging.getLogger(self._name)
        level = logging.ERROR if method == "exception" else getattr(logging, method.upper())
        if logger.isEnabledFor(level):
            error = words.pop("exc_info", method == "exception")
            line = " ".join([event, *(f"{name}={value!r}" for name, value in words.items())])
            logger.log(level, "%s", line, exc_info=error or None, stacklevel=_CALLER)


def get_logger(name: str) -> Log:
    """Return a module's log; `name` is its `__name__`."""
    return Log(name)
