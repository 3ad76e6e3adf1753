from __future__ import annotations

import json
from typing import Any

import pytest

from pgcast.web.batch import MAX_MESSAGES, Entry, blank, read_batch

ID = "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"
HI = {"topic": "room:7", "event": "hi", "payload": {"x": 3}}


def batch_of(*messages: Any, limit: int = 0) -> Any:
    return read_batch(json.dumps({"messages": messages}).encode(), limit)


def errors_of(message: Any, *, limit: int = 0) -> Any:
    found = batch_of(HI, message, limit=limit)
    assert found["errors"]["messages"][0] == {}
    return found["errors"]["messages"][1]


def test_messages_are_read_in_order_and_payloads_left_as_they_are():
    body = b'{"messages":[{"topic":"a:b","event":"e","payload":{"x": 3 },"private":true,"id":"%b"},%b]}' % (
        ID.upper().encode(),
        json.dumps(HI).encode(),
    )
    assert read_batch(body, 0) == [
        Entry("a:b", "e", b'{"x": 3 }', is_private=True, id=ID),
        Entry("room:7", "hi", b'{"x": 3}', is_private=False, id=None),
    ]


@pytest.mark.parametrize(
    ("value", "is_private"), [(None, False), ("", False), ("TRUE", True), ("1", True), ("0", False), (False, False)]
)
def test_privacy_may_be_said_as_text(value: object, is_private: bool):  # noqa: FBT001 - what is expected
    (entry,) = batch_of({**HI, "private": value})
    assert entry.is_private is is_private


@pytest.mark.parametrize(
    ("message", "errors"),
    [
        ({"topic": "t"}, {"payload": ["can't be blank"], "event": ["can't be blank"]}),
        ({**HI, "topic": " "}, {"topic": ["can't be blank"]}),
        ({**HI, "topic": 5}, {"topic": ["is invalid"]}),
        ({**HI, "payload": None}, {"payload": ["can't be blank"]}),
        ({**HI, "payload": [1]}, {"payload": ["is invalid"]}),
        ({**HI, "private": 5}, {"private": ["is invalid"]}),
        ({**HI, "private": "maybe"}, {"private": ["is invalid"]}),
        ({**HI, "id": "5"}, {"id": ["is invalid"]}),
        ({**HI, "id": 5}, {"id": ["is invalid"]}),
        ("x", {"message": ["is invalid"]}),
        (None, {"message": ["is invalid"]}),
    ],
)
def test_one_wrong_message_refuses_all_and_says_which(message: object, errors: dict[str, list[str]]):
    assert errors_of(message) == errors


def test_a_payload_over_the_limit_is_refused():
    assert errors_of({**HI, "payload": {"x": "12345"}}, limit=13) == {"payload": ["Payload size exceeds tenant limit"]}
    assert len(batch_of(HI, limit=8)) == 1


def test_there_is_a_bound_to_the_messages_and_so_to_the_errors_that_are_told():
    body = b'{"messages":[%b]}' % b",".join([b"{}"] * (MAX_MESSAGES + 1))
    assert read_batch(body, 0) == {"errors": {"messages": ["should have at most 10000 item(s)"]}}
    assert len(batch_of(*[HI] * MAX_MESSAGES)) == MAX_MESSAGES


@pytest.mark.parametrize("body", [b"{}", b'{"messages":null}', b'{"messages":[]}', b'{"messages":[ ]}'])
def test_no_messages_are_refused(body: bytes):
    assert read_batch(body, 0) == {"errors": {"messages": ["can't be blank"]}}


@pytest.mark.parametrize("body", [b'{"messages":5}', b'{"messages":{}}', b'{"messages":"x"}'])
def test_messages_that_are_no_list_are_refused(body: bytes):
    assert read_batch(body, 0) == {"errors": {"messages": ["is invalid"]}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is not JSON: "),
        (b"x", "is not JSON: "),
        (b"[]", "is of the wrong shape: "),
        (b"\xff", "is not UTF-8"),
        (b'{"messages":' + b"[" * 5000, "nests too deeply"),
    ],
)
def test_a_body_that_is_no_object_is_refused_in_words(body: bytes, words: str):
    found = read_batch(body, 0)
    assert isinstance(found, dict)
    assert str(found["message"]).startswith(f"The body {words}")


def test_several_values_may_be_missing():
    assert blank("a", "b") == {"a": ["can't be blank"], "b": ["can't be blank"]}
