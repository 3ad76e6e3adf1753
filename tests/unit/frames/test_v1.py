import pytest

from pgcast.frames.message import BinaryPayload, Message
from pgcast.frames.v1 import V1
from pgcast.model.errors import FrameError

SERIALIZER = V1()


def test_a_message_of_a_client_is_read_and_its_payload_left_alone():
    text = (
        '{"topic":"realtime:room:1","event":"broadcast",'
        '"payload":{"type":"broadcast","event":"hi","payload":{"a": 1}},"ref":"2","join_ref":"1"}'
    )

    assert SERIALIZER.decode_text(text) == Message(
        "1",
        "2",
        "realtime:room:1",
        "broadcast",
        b'{"type":"broadcast","event":"hi","payload":{"a": 1}}',
        len(text),
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"topic":"phoenix","event":"heartbeat","payload":null,"ref":null}',
        '{"topic":"phoenix","event":"heartbeat","ref":null}',
        '{"topic":"phoenix","event":"heartbeat","joinRef":"3","type":"x"}',
        b'{"topic":"phoenix","event":"heartbeat"}',
    ],
)
def test_refs_and_payload_may_be_missing_and_unknown_keys_are_ignored(text):
    assert SERIALIZER.decode_text(text) == Message(None, None, "phoenix", "heartbeat", b"null", len(text))


@pytest.mark.parametrize("ref", ["5", "-9223372036854775808", '"b6c0-guid"', "null"])
def test_a_ref_goes_back_as_it_came(ref):
    message = SERIALIZER.decode_text(f'{{"topic":"t","event":"e","payload":{{}},"ref":{ref}}}')

    assert SERIALIZER.encode(message) == b'{"topic":"t","event":"e","payload":{},"ref":%b}' % ref.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"topic":"t"}',
        '{"topic":1,"event":"e"}',
        '{"topic":"t","event":"e","ref":{}}',
        '{"topic":"t","event":"e","ref":true}',
        '{"topic":"t","event":"e","ref":9223372036854775808}',
        '{"topic":"t","event":"e","payload":{"a":NaN}}',
        '{"topic":"\\ud800","event":"e"}',
        b'{"topic":"t","event":"e","payload":"\xff"}',
        '{"topic":"t","event":"e","payload":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_any_other_text_is_a_frame_error(text):
    with pytest.raises(FrameError):
        SERIALIZER.decode_text(text)


def test_a_binary_message_is_a_frame_error():
    with pytest.raises(FrameError, match="a binary message of 3 bytes"):
        SERIALIZER.decode_binary(b"\x00\x00\x00")


def test_a_reply_has_exactly_topic_event_payload_and_ref():
    reply = Message("1", "2", "realtime:room:1", "phx_reply", b'{"status":"ok","response":{}}')

    assert SERIALIZER.encode(reply) == (
        b'{"topic":"realtime:room:1","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}'
    )


def test_what_is_no_reply_has_a_ref_of_null():
    assert SERIALIZER.encode(Message("6", None, "realtime:a", "presence_state")) == (
        b'{"topic":"realtime:a","event":"presence_state","payload":{},"ref":null}'
    )


def test_names_are_escaped():
    assert SERIALIZER.encode(Message(None, None, 'a"\\é\n', "e")) == (
        '{"topic":"a\\"\\\\é\\n","event":"e","payload":{},"ref":null}'.encode()
    )


def test_a_binary_payload_has_no_text():
    with pytest.raises(TypeError, match="not BinaryPayload"):
        SERIALIZER.encode(Message(None, None, "t", "e", BinaryPayload(b"")))


def test_prefix_data_suffix_is_a_postgres_changes_message():
    prefix, suffix = SERIALIZER.change_parts('realtime:a"b', (101, 102))

    assert prefix + b'{"type":"INSERT"}' + suffix == (
        b'{"topic":"realtime:a\\"b","event":"postgres_changes",'
        b'"payload":{"ids":[101,102],"data":{"type":"INSERT"}},"ref":null}'
    )


def test_prefix_payload_suffix_is_a_change_of_the_oldest_protocol():
    prefix, suffix = SERIALIZER.legacy_parts("realtime:public:todos:id=eq.5", "INSERT")

    assert prefix + b'{"type":"INSERT"}' + suffix == (
        b'{"topic":"realtime:public:todos:id=eq.5","event":"INSERT","payload":{"type":"INSERT"},"ref":null}'
    )


def test_the_version_is_1_0_0():
    assert SERIALIZER.version == "1.0.0"
