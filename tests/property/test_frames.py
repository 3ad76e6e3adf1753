import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgcast.frames.broadcast import Broadcast, frame_of, read_broadcast
from pgcast.frames.codec import serializer_for
from pgcast.frames.message import BinaryPayload, Message, UserBroadcast
from pgcast.frames.payloads import read_join, read_presence
from pgcast.frames.websocket import frame_header, text_frame
from pgcast.model.errors import FrameError

# How long an example takes depends on who else uses the machine, and proves nothing.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

V1 = serializer_for("1.0.0")
V2 = serializer_for("2.0.0")

texts = st.text(st.characters(exclude_categories=["Cs"]))
refs = st.none() | texts | st.integers(-(2**63), 2**63 - 1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)
names = texts.filter(lambda text: len(text.encode()) <= 255)
messages = st.tuples(refs, refs, texts, texts, json_values)


def v1_text(message):
    join_ref, ref, topic, event, payload = message
    return json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref})


@st.composite
def broken(draw, originals):
    """Return a frame with some bytes replaced, removed or added."""
    frame = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(frame)))
        frame[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(frame)


def push(kind, parts, rest, encoding=b""):
    return bytes((kind, *map(len, parts))) + encoding + b"".join(parts) + rest


binary_frames = st.tuples(*[names.map(str.encode)] * 5, st.binary(), st.binary(min_size=1, max_size=1)).map(
    lambda parts: push(3, parts[:5], parts[5], parts[6])
) | st.tuples(*[names.map(str.encode)] * 4, st.binary()).map(lambda parts: push(0, parts[:4], parts[4]))


@relaxed
@given(st.text() | st.binary())
def test_any_text_is_a_message_or_a_frame_error(text):
    for serializer in (V1, V2):
        with contextlib.suppress(FrameError):
            serializer.decode_text(text)


@relaxed
@given(broken(messages.map(v1_text).map(str.encode)))
def test_a_mutated_object_is_a_message_or_a_frame_error(text):
    with contextlib.suppress(FrameError):
        V1.decode_text(text)


@relaxed
@given(broken(messages.map(json.dumps).map(str.encode)))
def test_a_mutated_array_is_a_message_or_a_frame_error(text):
    with contextlib.suppress(FrameError):
        V2.decode_text(text)


@relaxed
@given(st.binary() | binary_frames | broken(binary_frames))
def test_any_bytes_are_a_message_or_a_frame_error(data):
    for serializer in (V1, V2):
        with contextlib.suppress(FrameError):
            serializer.decode_binary(data)


@relaxed
@given(json_values)
def test_any_object_is_a_join_and_anything_else_a_frame_error(payload):
    for text in (payload, {"config": payload}, {"config": {"presence": payload, "postgres_changes": payload}}):
        try:
            read_join(json.dumps(text).encode())
        except FrameError:
            assert not isinstance(text, dict)


@relaxed
@given(messages)
def test_an_array_is_read_and_written_without_loss(message):
    read = V2.decode_text(json.dumps(message))

    assert (read.join_ref, read.ref, read.topic, read.event) == message[:4]
    assert json.loads(V2.encode(read)) == list(message)


@relaxed
@given(messages)
def test_an_object_is_read_and_written_without_loss(message):
    join_ref, ref, topic, event, payload = message
    read = V1.decode_text(v1_text(message))

    assert read.join_ref == join_ref
    assert json.loads(V1.encode(read)) == {"topic": topic, "event": event, "payload": payload, "ref": ref}


@relaxed
@given(names, names, names, names, st.binary(max_size=255), st.booleans(), st.binary())
def test_a_user_broadcast_push_is_read_without_loss(join_ref, ref, topic, event, metadata, is_json, data):
    parts = [join_ref.encode(), ref.encode(), topic.encode(), event.encode(), metadata]
    frame = push(3, parts, data, bytes([is_json]))

    assert V2.decode_binary(frame) == Message(
        join_ref or None, ref or None, topic, "broadcast", UserBroadcast(event, metadata, is_json, data), len(frame)
    )


@relaxed
@given(names, names, names, names, st.binary())
def test_a_binary_push_is_read_without_loss(join_ref, ref, topic, event, data):
    frame = push(0, [join_ref.encode(), ref.encode(), topic.encode(), event.encode()], data)

    assert V2.decode_binary(frame) == Message(
        join_ref or None, ref or None, topic, event, BinaryPayload(data), len(frame)
    )


@relaxed
@given(texts, st.lists(st.integers(1, 2**31 - 1), min_size=1), json_values)
def test_parts_around_data_are_a_whole_message(topic, ids, data):
    payload = {"ids": ids, "data": data}
    middle = json.dumps(data).encode()
    before, after = V2.change_parts(topic, tuple(ids))
    assert json.loads(before + middle + after) == [None, None, topic, "postgres_changes", payload]

    before, after = V1.change_parts(topic, tuple(ids))
    assert json.loads(before + middle + after) == {
        "topic": topic,
        "event": "postgres_changes",
        "payload": payload,
        "ref": None,
    }


@relaxed
@given(st.integers(0, 2**63 - 1))
def test_a_header_tells_the_length_in_the_shortest_form(length):
    header = frame_header(length)
    first, short, rest = header[0], header[1], header[2:]

    assert first == 0x81
    if length <= 125:
        assert (short, rest) == (length, b"")
    else:
        assert short == (126 if length <= 0xFFFF else 127)
        assert len(rest) == (2 if length <= 0xFFFF else 8)
        assert int.from_bytes(rest, "big") == length


@relaxed
@given(st.binary(max_size=70_000))
def test_a_frame_is_its_header_and_its_payload(payload):
    assert text_frame(payload) == frame_header(len(payload)) + payload


@relaxed
@given(topic=names, event=texts, value=json_values, id_=st.none() | st.uuids().map(str), is_text=st.booleans())
def test_a_broadcast_says_the_same_in_both_serializers(topic, event, value, id_, is_text):
    data = json.dumps(value).encode()
    broadcast = Broadcast(event, data, id=id_, is_text=is_text)
    meta = {} if id_ is None else {"meta": {"id": id_}}
    expected = {"type": "broadcast", "event": event, "payload": value, **meta}

    (_, old), (opcode, new) = (content_of(frame_of(broadcast, topic, serializer)) for serializer in (V1, V2))
    assert json.loads(old) == {"topic": topic, "event": "broadcast", "payload": expected, "ref": None}
    if opcode == 1:
        assert is_text or len(event.encode()) > 255
        assert json.loads(new) == [None, None, topic, "broadcast", expected]
    else:
        assert user_broadcast_in(new) == (topic, event, meta.get("meta"), True, data)


@relaxed
@given(topic=names, event=names, data=st.binary())
def test_raw_bytes_come_out_as_they_came(topic, event, data):
    broadcast = Broadcast(event, data, is_json=False)

    assert frame_of(broadcast, topic, V1) is None
    assert user_broadcast_in(content_of(frame_of(broadcast, topic, V2))[1]) == (topic, event, None, False, data)


@relaxed
@given(frame=st.binary() | binary_frames | broken(binary_frames))
def test_whatever_is_pushed_is_relayed_as_something_that_clients_can_read(frame):
    with contextlib.suppress(FrameError):
        broadcast = read_broadcast(V2.decode_binary(frame).payload)
        if broadcast is not None:
            for serializer in (V1, V2):
                relayed = frame_of(broadcast, "realtime:t", serializer)
                opcode, content = (1, b"{}") if relayed is None else content_of(relayed)
                if opcode == 1:
                    json.loads(content)
                elif (read := user_broadcast_in(content))[3]:
                    json.loads(read[4])


@relaxed
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_presence_payload_is_a_request_or_a_frame_error(payload):
    with contextlib.suppress(FrameError):
        request = read_presence(payload)
        if request.members is not None:
            assert isinstance(json.loads(b"{%b}" % request.members), dict)


def content_of(frame):
    """Return the opcode and the payload of a WebSocket frame."""
    length = next(length for length in (2, 4, 10) if len(frame) - length < (126, 65536, 2**63)[length // 4])
    return frame[0] & 0x0F, frame[length:]


def user_broadcast_in(content):
    """Read a user broadcast as a client does: topic, event, metadata, whether it is JSON, data."""
    assert content[0] == 4
    topic, event, metadata = content[1:4]
    parts, at = [], 5
    for size in (topic, event, metadata):
        parts.append(content[at : at + size])
        at += size
    return (
        parts[0].decode(),
        parts[1].decode(),
        json.loads(parts[2]) if parts[2] else None,
        content[4] != 0,
        content[at:],
    )
