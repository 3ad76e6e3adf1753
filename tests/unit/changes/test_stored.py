from __future__ import annotations

import pytest
from making import TEXT, change, table, transaction

from pgcast.changes.stored import read_content, read_row
from pgcast.model.change import ABSENT, Change
from pgcast.model.errors import WireError
from pgcast.model.messages import DatabaseMessage

COLUMNS = ("topic", "extension", "payload", "event", "private", "id", "binary_payload")
ROW = {
    "topic": b"room:1",
    "extension": b"broadcast",
    "payload": b'{"a": 1}',
    "event": b"hi",
    "private": b"t",
    "id": b"6f1c",
    "binary_payload": None,
}


def row(columns: tuple[str, ...] = COLUMNS, **more: object) -> Change:
    values = tuple({**ROW, **more}[column] for column in columns)
    on = table("messages", in_schema="realtime", **dict.fromkeys(columns, TEXT))
    return change(transaction(100), on=on, values=values)  # type: ignore[arg-type]


def message(**more: object) -> DatabaseMessage:
    usual = {
        "topic": "room:1",
        "is_private": True,
        "event": "hi",
        "payload": b'{"a": 1}',
        "raw": None,
        "id": "6f1c",
    }
    return DatabaseMessage(**{**usual, **more})  # type: ignore[arg-type]


def test_a_row_is_a_message_whatever_the_order_of_its_columns():
    assert read_row(row()) == message()
    assert read_row(row(tuple(reversed(COLUMNS)))) == message()


@pytest.mark.parametrize("private", [b"f", None, ABSENT])
def test_a_row_that_does_not_say_private_is_public(private: object):
    assert read_row(row(private=private)) == message(is_private=False)


def test_bytes_are_read_from_their_hexadecimal_form():
    assert read_row(row(payload=None, binary_payload=rb"\x00ff61")) == message(payload=None, raw=b"\x00\xffa")
    assert read_row(row(payload=None, binary_payload=rb"\x")) == message(payload=None, raw=b"")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"event": None}, "the row has no event"),
        ({"topic": None}, "the row has no topic"),
        ({"payload": None}, "the row has neither payload nor binary_payload"),
        ({"payload": b'"\xff"'}, "the payload is not UTF-8"),
        ({"event": b"\xff"}, "the event is not UTF-8"),
        ({"payload": None, "binary_payload": b"\\000"}, "the binary_payload is not in hexadecimal form"),
    ],
)
def test_a_row_that_cannot_be_delivered_says_why(wrong: dict[str, object], reason: str):
    with pytest.raises(WireError) as caught:
        read_row(row(**wrong))
    assert caught.value.message == reason


def test_a_row_that_was_delivered_by_whoever_stored_it_is_none():
    assert read_row(row((*COLUMNS, "skip_broadcast"), skip_broadcast=b"t")) is None
    assert read_row(row((*COLUMNS, "skip_broadcast"), skip_broadcast=b"f")) == message()


def test_content_is_a_json_object():
    content = b'{"topic":"room:1","event":"hi","payload":{"a": 1},"private":true,"id":"6f1c"}'
    assert read_content(content) == message()


@pytest.mark.parametrize(("private", "is_private"), [("true", True), ("false", False), ("null", True)])
def test_content_is_private_unless_it_says_otherwise(private: str, *, is_private: bool):
    content = b'{"topic":"room:1","event":"hi","payload":null,"private":%b}' % private.encode()
    assert read_content(content) == message(payload=b"null", is_private=is_private, id=None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "the content is not UTF-8"),
        (b"{", "the content is not JSON, or nested too deeply"),
        (
            b'{"topic":"t","event":"e","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "the content is not JSON, or nested too deeply",
        ),
        (b'{"topic":"t","event":"e","payload":"\xc3"}', "the content is not UTF-8"),
        (b"[]", "the content is no message: Expected `object`, got `array`"),
        (b'{"topic":"t","payload":1}', "the content is no message: Object missing required field `event`"),
        (b'{"topic":7,"event":"e","payload":1}', "the content is no message: Expected `str`, got `int` - at `$.topic`"),
    ],
)
def test_content_that_cannot_be_delivered_says_why(content: bytes, reason: str):
    with pytest.raises(WireError) as caught:
        read_content(content)
    assert caught.value.message == reason
