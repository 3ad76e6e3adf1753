"""Whatever a program writes, the reader of messages without a table finds a message or says why it is none."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pgcast.changes.stored import read_content
from pgcast.model.errors import WireError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(content: bytes) -> bool:
    try:
        message = read_content(content)
    except WireError:
        return False
    json.loads(message.payload or b"")
    return True


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes):
    read(content)


@given(st.dictionaries(st.sampled_from(["topic", "event", "payload", "private", "id", "more"]), JSON))
def test_any_json(content: dict[str, object]):
    read(json.dumps(content).encode())


@given(st.text(), st.text(), JSON, st.booleans())
def test_every_message_is_read_as_it_was_written(topic: str, event: str, payload: object, private: bool):  # noqa: FBT001
    content = {"topic": topic, "event": event, "payload": payload, "private": private}
    message = read_content(json.dumps(content).encode())
    assert (message.topic, message.event, message.is_private) == (topic, event, private)
    assert json.loads(message.payload or b"") == payload


@given(st.data())
def test_a_message_with_a_byte_changed(data: st.DataObject):
    content = bytearray(b'{"topic":"room:1","event":"hi","payload":{"a":[1,"\\u00fc"]},"private":true,"id":"6f1c"}')
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(content))
