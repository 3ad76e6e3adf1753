"""Where the log of a test goes: to standard output where the test captures that, else to Python's own logging."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _log_as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    if "capsys" in request.fixturenames:
        structlog.configure()
    yield
    structlog.reset_defaults()
