"""What `listen` is given, and how errors name it."""

from __future__ import annotations

import re

import pytest

from pgcast.api.arguments import check_acknowledgement, check_text, name_as_called, texts_of
from pgcast.model.errors import NotPrepared, SettingsError
from pgcast.postgres import refusals


def test_acknowledgement_is_one_of_two_ways_with_a_bound():
    check_acknowledgement("auto", 1)
    check_acknowledgement("manual", 10_000)


@pytest.mark.parametrize(
    ("ack", "bound", "words"),
    [
        ("no", 1, "ack: expected 'auto' or 'manual' (found 'no')"),
        (None, 1, "ack: expected 'auto' or 'manual' (found None)"),
        (["auto"], 1, "(found list)"),
        ("auto", 0, "max_unacknowledged: expected a number, at least 1 (found 0)"),
        ("auto", "5", "(found '5')"),
        ("auto", 1.5, "(found 1.5)"),
    ],
    ids=str,
)
def test_anything_else_is_refused_with_what_was_found(ack: object, bound: object, words: str):
    with pytest.raises(SettingsError, match=re.escape(words)):
        check_acknowledgement(ack, bound)


def test_text_is_text():
    check_text("dsn", "host=here")
    with pytest.raises(SettingsError, match=r"dsn: expected text \(found None\)"):
        check_text("dsn", None)


def test_one_text_or_several():
    assert texts_of("tables", "todos") == ("todos",)
    assert texts_of("tables", (name for name in ("a", "b"))) == ("a", "b")
    assert texts_of("tables", []) == ()
    for wrong in (None, 5, ["todos", 5]):
        with pytest.raises(SettingsError, match="tables: expected text, or a list of it"):
            texts_of("tables", wrong)


def test_what_was_found_is_cut_short_and_of_an_object_only_the_type_is_told():
    with pytest.raises(SettingsError) as raised:
        check_text("dsn", {"password": "secret"})
    assert "secret" not in raised.value.message
    with pytest.raises(SettingsError) as raised:
        check_acknowledgement("x" * 1000, 1)
    assert len(raised.value.message) < 100


def test_no_hint_names_a_variable_of_the_server_s():
    for rule in refusals._RULES:
        error = NotPrepared("SLOT_NAME is no name", hint=rule.hint)
        name_as_called(error)
        assert str(error) == error.message == "slot is no name"
        assert not re.search(r"DB_|DATABASE_URL|SLOT_NAME|PUBLICATIONS|PGCAST_", error.hint), error.hint
        assert error.__notes__ == [f"fix: {error.hint}"]


def test_an_error_without_a_hint_has_no_note():
    error = NotPrepared("it is not")
    name_as_called(error)
    assert error.__notes__ == []
