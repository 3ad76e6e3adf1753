"""What is logged inside another program."""

from __future__ import annotations

import logging

import pytest
import structlog

from pgcast.api.logs import line_of, log_to_standard_logging


def test_it_goes_to_the_program_s_own_logging(caplog: pytest.LogCaptureFixture):
    log_to_standard_logging()
    log = structlog.get_logger()
    with caplog.at_level(logging.INFO):
        log.info("replication stream open", slot="worker")
        log.debug("nobody asked for it")
        try:
            raise ValueError("no good")
        except ValueError:
            log.exception("a handler failed", handler="notes")
    opened, failed = caplog.records
    assert (opened.levelname, opened.getMessage()) == ("INFO", "replication stream open slot='worker'")
    assert failed.getMessage() == "a handler failed handler='notes'"
    assert failed.exc_info is not None
    assert failed.exc_info[0] is ValueError
    assert failed.name == __name__


def test_a_percent_sign_is_nothing_special(caplog: pytest.LogCaptureFixture):
    log_to_standard_logging()
    structlog.get_logger().warning("100% of it")
    assert caplog.records[0].getMessage() == "100% of it"


def test_an_error_that_is_handed_over_stays_with_the_line():
    error = ValueError("no good")
    assert line_of(None, "error", {"event": "failed", "exc_info": error}) == (("%s", "failed"), {"exc_info": error})
    assert line_of(None, "exception", {"event": "failed", "exc_info": True}) == (("%s", "failed"), {})


def test_a_program_that_uses_structlog_itself_is_left_alone():
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    before = structlog.get_config()["processors"]
    log_to_standard_logging()
    assert structlog.get_config()["processors"] is before
