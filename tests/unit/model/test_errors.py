"""Every error has a code of its own that programs can rely on, and stands in the tree of the docstring."""

from __future__ import annotations

import traceback

import pytest

from pgcast.model import errors
from pgcast.model.errors import (
    DatabaseError,
    KeySetUnavailable,
    PgcastError,
    PoliciesUnavailable,
    SettingsError,
    SlotLost,
    TokenError,
)

ALL = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, PgcastError)]


def test_no_two_errors_share_a_code():
    assert len({one.code for one in ALL}) == len(ALL)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.__name__)
def test_every_error_stands_in_the_tree(one: type[PgcastError]):
    assert errors.__doc__ is not None
    assert one.__name__ in errors.__doc__


def test_an_error_is_its_message_and_keeps_its_hint():
    error = SlotLost("the slot is gone", hint="make a new one")
    assert (str(error), error.message, error.hint) == ("the slot is gone", "the slot is gone", "make a new one")


def test_what_the_database_refuses_may_be_tried_again_and_a_setting_not():
    assert DatabaseError("x").retryable
    assert not SettingsError("x").retryable


def test_a_token_error_carries_the_code_of_the_join_s_reply():
    assert TokenError("x").join_code == "InvalidJWTToken"
    assert TokenError("x", code="MalformedJWT").join_code == "MalformedJWT"


def test_what_refuses_a_join_says_so_in_the_form_that_clients_read():
    assert TokenError("x", told="x, and more").reason == "InvalidJWTToken: x, and more"
    assert KeySetUnavailable("x").reason == "KeySetUnavailable: x"
    assert PoliciesUnavailable("x", reason="QueryCanceled: y").reason == "QueryCanceled: y"


def test_a_traceback_shows_the_hint():
    shown = "".join(traceback.format_exception(SlotLost("the slot is gone", hint="make a new one")))
    assert "SlotLost: the slot is gone\nfix: make a new one" in shown
    assert "fix" not in "".join(traceback.format_exception(SlotLost("the slot is gone")))
