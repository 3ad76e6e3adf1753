import pytest
from websockets.frames import Frame, Opcode

from pgcast.frames.websocket import binary_frame, frame_header, ping_frame, text_frame


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "81 00"),
        (1, "81 01"),
        (125, "81 7d"),
        (126, "81 7e 00 7e"),
        (255, "81 7e 00 ff"),
        (65_535, "81 7e ff ff"),
        (65_536, "81 7f 00 00 00 00 00 01 00 00"),
        (5_000_000_000, "81 7f 00 00 00 01 2a 05 f2 00"),
    ],
)
def test_a_text_header_tells_the_length_in_7_16_or_64_bits(length, header):
    assert frame_header(length) == bytes.fromhex(header)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_frames_are_those_of_an_independent_implementation(length):
    payload = b"x" * length

    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert binary_frame(payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


@pytest.mark.parametrize("data", [b"", b"17", b"9" * 125])
def test_a_ping_carries_up_to_125_bytes(data):
    assert ping_frame(data) == Frame(Opcode.PING, data).serialize(mask=False)


def test_a_longer_ping_is_refused():
    with pytest.raises(ValueError, match="at most 125 bytes, not 126"):
        ping_frame(b"9" * 126)
