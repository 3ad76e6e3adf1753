"""What is logged inside another program: to Python's own logging, under `pgcast`, unless structlog is set up there."""

from __future__ import annotations

import structlog


def log_to_standard_logging() -> None:
    """Send what is logged to `logging`, as one line of text each; nothing happens where structlog is configured."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
