import msgspec
import pytest

from pgcast.frames.message import BinaryPayload
from pgcast.frames.reading import as_text, read, read_object, read_or, write
from pgcast.model.errors import FrameError

INTEGER = msgspec.json.Decoder(int)


def test_what_is_no_json_is_a_frame_error_that_repeats_nothing_of_it():
    with pytest.raises(FrameError, match="not JSON") as caught:
        read(INTEGER, "secret")

    assert "secret" not in caught.value.message


def test_a_value_of_another_type_is_a_frame_error_that_names_both_types():
    with pytest.raises(FrameError, match="Expected `int`, got `str`"):
        read(INTEGER, '"secret"')


def test_deep_nesting_is_a_frame_error():
    with pytest.raises(FrameError, match="nests too deeply"):
        read(msgspec.json.Decoder(msgspec.Raw), "[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize("text", ['"\ud800"', b'"\xff"'])
def test_text_that_has_no_utf8_form_is_a_frame_error(text):
    with pytest.raises(FrameError, match="not UTF-8"):
        read(msgspec.json.Decoder(str), text)


def test_bytes_become_text_only_if_they_are_utf8():
    assert as_text("é".encode()) == "é"
    assert as_text("é") == "é"
    with pytest.raises(FrameError, match="not UTF-8"):
        as_text(b'["\xff"]')


def test_an_object_is_taken_apart_by_one_level_in_its_own_order():
    members = read_object(b'{"b": [1, 2], "a": {"c":1e999}, "b": null}')

    assert {key: bytes(value) for key, value in members.items()} == {"b": b"null", "a": b'{"c":1e999}'}
    assert list(members) == ["b", "a"]


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"1", BinaryPayload(b"{}")])
def test_anything_but_an_object_is_a_frame_error(payload):
    with pytest.raises(FrameError):
        read_object(payload)


def test_a_value_that_is_absent_or_of_another_type_gives_the_default():
    assert read_or(INTEGER, None, 7) == 7
    assert read_or(INTEGER, msgspec.Raw(b'"x"'), 7) == 7
    assert read_or(INTEGER, msgspec.Raw(b"5"), 7) == 5


def test_refs_topics_and_ids_are_written_as_compact_json():
    assert write(None) == b"null"
    assert write('a"é') == '"a\\"é"'.encode()
    assert write((1, 2)) == b"[1,2]"
