"""How long an endpoint is left alone after an attempt that failed: what it asks for itself, within a bound."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 60.0
"""Waits double from the first to the longest, each shortened by up to a half at random."""

LONGEST_RETRY_AFTER_S: Final = 3600.0
"""What an endpoint may ask for, at most."""


def retry_after_s(header: str | None, now_s: float) -> float:
    """Return how long a `Retry-After` asks to wait; 0 where it is missing, or neither seconds nor a date.

    Source: RFC 9110, section 10.2.3.

    Args:
        header: The header's value.
        now_s: The time, seconds since 1970-01-01 UTC.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        wait_s = float(text[:12])
    else:
        try:
            moment = parsedate_to_datetime(text)
            # A date without a zone is GMT, as all HTTP dates are.
            wait_s = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - now_s
        except (ValueError, OverflowError):
            return 0.0
    return min(max(wait_s, 0.0), LONGEST_RETRY_AFTER_S)
