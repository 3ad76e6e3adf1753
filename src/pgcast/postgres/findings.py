"""What a check has found, and the SQL that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How much a finding that is not ok matters."""

    ERROR = "error"  # pgcast cannot work, or statements of the application fail
    WARNING = "warning"  # it works, and may bite
    INFO = "info"  # good to know


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: What was looked at, a word or two.
        is_ok: Whether all is well.
        severity: How much it matters if not; an ok finding is INFO.
        message: One line: what was found.
        sql: The statements that mend it, one a line; empty where all is well, or where SQL does not help.
        hint: What else would help; may be empty.
    """

    name: str
    is_ok: bool
    severity: Severity
    message: str
    sql: str = ""
    hint: str = ""


def ok(name: str, message: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(name, is_ok=True, severity=Severity.INFO, message=message)


def error(name: str, message: str, *, sql: str = "", hint: str = "") -> Finding:
    """Return a finding that keeps pgcast, or the application, from working."""
    return Finding(name, is_ok=False, severity=Severity.ERROR, message=message, sql=sql, hint=hint)


def warning(name: str, message: str, *, sql: str = "", hint: str = "") -> Finding:
    """Return a finding that may bite."""
    return Finding(name, is_ok=False, severity=Severity.WARNING, message=message, sql=sql, hint=hint)


def info(name: str, message: str, *, sql: str = "", hint: str = "") -> Finding:
    """Return a finding that is good to know."""
    return Finding(name, is_ok=False, severity=Severity.INFO, message=message, sql=sql, hint=hint)
