import pytest

from pgcast.frames.message import BinaryPayload, Message
from pgcast.frames.v2 import V2
from pgcast.model.errors import FrameError

SERIALIZER = V2()


def test_a_message_of_a_client_is_read_and_its_payload_left_alone():
    text = '["6","7","realtime:a b/c:d","phx_join",{"config": {"private":true}}]'

    assert SERIALIZER.decode_text(text) == Message(
        "6", "7", "realtime:a b/c:d", "phx_join", b'{"config": {"private":true}}', len(text)
    )


@pytest.mark.parametrize(
    "text",
    [
        '[null,"7","phoenix","heartbeat",null]',
        '[null,"7","phoenix","heartbeat"]',
        b'[null,"7","phoenix","heartbeat",null,"and","more"]',
    ],
)
def test_the_payload_may_be_missing_and_further_elements_are_ignored(text):
    assert SERIALIZER.decode_text(text) == Message(None, "7", "phoenix", "heartbeat", b"null", len(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '[null,null,"t"]',
        '[null,null,null,"e",{}]',
        '[{},null,"t","e",{}]',
        '[null,1.5,"t","e",{}]',
        '[null,null,"t","e",{}',
        '[null,null,"t","e",{}] []',
        b'[null,null,"t","e",{"a":"\xff"}]',
        '[null,null,"t","e",' + "[" * 100_000 + "]" * 100_000 + "]",
    ],
)
def test_any_other_text_is_a_frame_error(text):
    with pytest.raises(FrameError):
        SERIALIZER.decode_text(text)


def test_a_binary_message_is_read():
    message = SERIALIZER.decode_binary(b"\x00\x01\x01\x01\x01" + b"12te" + b"data")

    assert message == Message("1", "2", "t", "e", BinaryPayload(b"data"), 13)


def test_a_message_is_an_array_of_join_ref_ref_topic_event_payload():
    reply = Message("6", "7", "realtime:room:1", "phx_reply", b'{"status":"ok","response":{}}')

    assert SERIALIZER.encode(reply) == b'["6","7","realtime:room:1","phx_reply",{"status":"ok","response":{}}]'


def test_a_binary_payload_has_no_text():
    with pytest.raises(TypeError, match="not BinaryPayload"):
        SERIALIZER.encode(Message(None, None, "t", "e", BinaryPayload(b"")))


def test_prefix_data_suffix_is_a_postgres_changes_message():
    prefix, suffix = SERIALIZER.change_parts("realtime:room:1", (101, 102))

    assert prefix + b'{"type":"INSERT"}' + suffix == (
        b'[null,null,"realtime:room:1","postgres_changes",{"ids":[101,102],"data":{"type":"INSERT"}}]'
    )


def test_prefix_payload_suffix_is_a_change_of_the_oldest_protocol():
    prefix, suffix = SERIALIZER.legacy_parts("realtime:*", "TRUNCATE")

    assert prefix + b'{"type":"TRUNCATE"}' + suffix == b'[null,null,"realtime:*","TRUNCATE",{"type":"TRUNCATE"}]'


def test_the_version_is_2_0_0():
    assert SERIALIZER.version == "2.0.0"
