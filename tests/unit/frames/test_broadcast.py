import json

import pytest

from pgcast.frames.binary import user_broadcast
from pgcast.frames.broadcast import Broadcast, frame_of, is_json, read_broadcast
from pgcast.frames.codec import serializer_for
from pgcast.frames.message import BinaryPayload, UserBroadcast
from pgcast.frames.websocket import binary_frame, text_frame

TOPIC = "realtime:room:1"
V1, V2 = serializer_for("1.0.0"), serializer_for("2.0.0")
ID = "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"


def text_v1(payload):
    return text_frame(b'{"topic":"realtime:room:1","event":"broadcast","payload":%b,"ref":null}' % payload)


def text_v2(payload, join_ref=b"null"):
    return text_frame(b'[%b,null,"realtime:room:1","broadcast",%b]' % (join_ref, payload))


def kind_4(event, data, *, is_json, metadata=b""):
    return binary_frame(user_broadcast(TOPIC, event, metadata, data, is_json=is_json))


def frames(broadcast):
    return frame_of(broadcast, TOPIC, V1), frame_of(broadcast, TOPIC, V2)


# The matrix


def test_a_text_push_goes_out_verbatim_to_everybody():
    payload = b'{"type":"broadcast", "event":"hi","a":1}'
    assert frames(read_broadcast(payload)) == (text_v1(payload), text_v2(payload))


def test_a_json_user_broadcast_is_text_of_its_parts_to_the_old_and_binary_to_the_new():
    broadcast = read_broadcast(UserBroadcast("hi", b"", True, b'{"a":1}'))
    assert frames(broadcast) == (
        text_v1(b'{"type":"broadcast","event":"hi","payload":{"a":1}}'),
        kind_4("hi", b'{"a":1}', is_json=True),
    )


def test_raw_bytes_cannot_be_told_to_the_old():
    broadcast = read_broadcast(UserBroadcast("hi", b"", False, b"\xff\x00"))
    assert frames(broadcast) == (None, kind_4("hi", b"\xff\x00", is_json=False))


@pytest.mark.parametrize(("id_", "more"), [(None, b""), (ID, b',"meta":{"id":"%b"}' % ID.encode())])
def test_a_message_of_a_batch_is_text_to_everybody(id_, more):
    payload = b'{"type":"broadcast","event":"hi","payload":[1]%b}' % more
    assert frames(Broadcast("hi", b"[1]", id=id_, is_text=True)) == (text_v1(payload), text_v2(payload))


def test_a_message_of_the_database_carries_its_id():
    meta = b'{"id":"%b"}' % ID.encode()
    assert frames(Broadcast("hi", b'{"a":1}', id=ID)) == (
        text_v1(b'{"type":"broadcast","event":"hi","payload":{"a":1},"meta":%b}' % meta),
        kind_4("hi", b'{"a":1}', is_json=True, metadata=meta),
    )
    assert frames(Broadcast("hi", b"\xff", is_json=False, id=ID)) == (
        None,
        kind_4("hi", b"\xff", is_json=False, metadata=meta),
    )


def test_what_is_replayed_is_text_with_the_join_ref_of_its_channel_unless_it_is_raw():
    meta = b'{"id":"%b","replayed":true}' % ID.encode()
    payload = b'{"type":"broadcast","event":"hi","payload":1,"meta":%b}' % meta
    replayed = Broadcast("hi", b"1", id=ID, is_replayed=True)
    assert frame_of(replayed, TOPIC, V1, "6") == text_v1(payload)
    assert frame_of(replayed, TOPIC, V2, "6") == text_v2(payload, b'"6"')
    raw = Broadcast("hi", b"1", is_json=False, id=ID, is_replayed=True)
    assert frame_of(raw, TOPIC, V1, "6") is None
    assert frame_of(raw, TOPIC, V2, "6") == kind_4("hi", b"1", is_json=False, metadata=meta)


def test_a_name_that_does_not_fit_a_binary_frame_makes_json_text_and_raw_bytes_impossible():
    event = "e" * 256
    payload = b'{"type":"broadcast","event":"%b","payload":1}' % event.encode()
    assert frames(Broadcast(event, b"1")) == (text_v1(payload), text_v2(payload))
    assert frames(Broadcast(event, b"1", is_json=False)) == (None, None)


def test_names_are_escaped():
    frame = frame_of(Broadcast('a"\\\n', b"1"), 'realtime:"', V1)
    assert json.loads(frame[2:])["payload"]["event"] == 'a"\\\n'


# What a client pushed


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"5", BinaryPayload(b"{}")])
def test_what_is_no_object_is_no_broadcast(payload):
    assert read_broadcast(payload) is None


@pytest.mark.parametrize("data", [b"", b"{", b"{}x", b"\xff", b'"\xff"', b"nope", b'{"a":01}', b'"\n"', b"[" * 9000])
def test_what_says_it_is_json_and_is_not_is_no_broadcast(data):
    assert read_broadcast(UserBroadcast("e", b"", True, data)) is None
    assert read_broadcast(UserBroadcast("e", b"", False, data)) == Broadcast("e", data, is_json=False)


@pytest.mark.parametrize("data", [b"null", b"5", b'"\xc3\xbc"', b" [1] ", b"true"])
def test_any_json_value_will_do(data):
    assert is_json(data)
    assert read_broadcast(UserBroadcast("e", b"no object", True, data)) == Broadcast("e", data)


def test_the_size_is_that_of_the_payload():
    assert read_broadcast(b'{"event":"hi"}').size_bytes == 14
    assert Broadcast("hi", b"12345").size_bytes == 5
