import pytest

from pgcast.frames.binary import decode_push, user_broadcast
from pgcast.frames.message import BinaryPayload, Message, UserBroadcast
from pgcast.model.errors import FrameError

# Event `hi`, payload {"a":1}, on realtime:room:1, as the official JavaScript client sends it.
USER_BROADCAST = bytes.fromhex(
    "03 01 01 0f 02 00 01"  # kind 3; sizes 1, 1, 15, 2, 0; encoding 1
    "36 37"  # "6" "7"
    "72 65 61 6c 74 69 6d 65 3a 72 6f 6f 6d 3a 31"  # "realtime:room:1"
    "68 69"  # "hi"
    "7b 22 61 22 3a 31 7d"  # {"a":1}
)


def test_a_user_broadcast_push_is_a_broadcast_that_carries_the_users_event():
    assert decode_push(USER_BROADCAST) == Message(
        "6", "7", "realtime:room:1", "broadcast", UserBroadcast("hi", b"", True, b'{"a":1}'), len(USER_BROADCAST)
    )


def test_metadata_and_raw_bytes_are_kept_unread():
    data = bytes.fromhex("03 00 00 01 02 02 00") + b"t" + b"hi" + b"{}" + b"\xff\x00"

    assert decode_push(data) == Message(
        None, None, "t", "broadcast", UserBroadcast("hi", b"{}", False, b"\xff\x00"), len(data)
    )


def test_any_encoding_but_zero_is_json():
    message = decode_push(bytes.fromhex("03 00 00 01 01 00 09") + b"te1")

    assert message.payload == UserBroadcast("e", b"", True, b"1")


def test_sizes_count_utf8_bytes_and_a_ref_of_size_zero_is_null():
    data = bytes.fromhex("00 00 02 02 01") + "éüe".encode() + b"data"

    assert decode_push(data) == Message(None, "é", "ü", "e", BinaryPayload(b"data"), len(data))


def test_a_push_without_refs_has_none():
    assert decode_push(bytes.fromhex("00 00 00 01 01") + b"te") == Message(None, None, "t", "e", BinaryPayload(b""), 7)


@pytest.mark.parametrize("length", range(len(USER_BROADCAST) - 7))
def test_a_frame_cut_short_anywhere_before_its_data_is_a_frame_error(length):
    with pytest.raises(FrameError, match="binary message"):
        decode_push(USER_BROADCAST[:length])


def test_the_data_may_be_empty():
    assert decode_push(USER_BROADCAST[:-7]).payload == UserBroadcast("hi", b"", True, b"")


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 255])
def test_kinds_that_clients_do_not_send_are_frame_errors(kind):
    with pytest.raises(FrameError, match=f"kind {kind}"):
        decode_push(bytes((kind, 0, 0, 0, 0, 0, 0)))


def test_a_name_that_is_not_utf8_is_a_frame_error():
    with pytest.raises(FrameError, match="not UTF-8"):
        decode_push(bytes.fromhex("00 00 00 01 01 ff 65"))


def test_a_user_broadcast_is_laid_out_as_the_clients_read_it():
    metadata = b'{"id":"6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"}'

    assert user_broadcast("realtime:room:1", "hi", metadata, b'{"a":1}', is_json=True) == bytes.fromhex(
        "04 0f 02 2d 01"  # kind 4; sizes 15, 2, 45; encoding 1
        "72 65 61 6c 74 69 6d 65 3a 72 6f 6f 6d 3a 31"  # "realtime:room:1"
        "68 69"  # "hi"
    ) + metadata + bytes.fromhex("7b 22 61 22 3a 31 7d")


def test_the_sizes_of_a_user_broadcast_count_utf8_bytes():
    assert user_broadcast("tü", "é", b"", b"\xff", is_json=False) == b"\x04\x03\x02\x00\x00" + "tüé".encode() + b"\xff"


def test_names_over_255_bytes_do_not_fit_a_user_broadcast():
    assert user_broadcast("ü" * 127 + "x", "e" * 255, b"", b"", is_json=True) is not None
    assert user_broadcast("ü" * 128, "e", b"", b"", is_json=True) is None
    assert user_broadcast("t", "e" * 256, b"", b"", is_json=True) is None
