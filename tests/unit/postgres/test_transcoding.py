"""Envelopes in a database's own encoding: the same in UTF-8, and untouched where there is nothing to do."""

from __future__ import annotations

import struct

import pytest
from pgoutput import begin, commit, keepalive, truncate, wal_data

from pgcast.postgres.transcoding import Transcoder


def row(*values: bytes | None) -> bytes:
    """A tuple; None is a NULL."""
    columns = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in values]
    return struct.pack(">H", len(values)) + b"".join(columns)


# Each message with `@` where a text stands in the database's encoding.
MESSAGES = {
    "relation": lambda text: (
        b"R\0\0\0\x07" + text + b"\0" + text + b"\0d\0\x02"
        + b"\x01id\0\0\0\0\x14\xff\xff\xff\xff"
        + b"\0" + text + b"\0\0\0\0\x19\xff\xff\xff\xff"
    ),
    "type": lambda text: b"Y\0\0\0\x07" + text + b"\0" + text + b"\0",
    "origin": lambda text: b"O\xff\0\0\0\0\0\0\x07" + text + b"\0",
    "insert": lambda text: b"I\xff\0\0\x07N" + row(b"1", text, None),
    "update": lambda text: b"U\xff\0\0\x07N" + row(text),
    "update of a key": lambda text: b"U\xff\0\0\x07K" + row(text, None) + b"N" + row(text, b"x"),
    "update of a whole row": lambda text: b"U\xff\0\0\x07O" + row(text) + b"N" + row(text),
    "delete": lambda text: b"D\xff\0\0\x07O" + row(text),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("text", ["größe", "plain", "€"])
def test_text_is_converted_wherever_it_stands(name: str, text: str):
    read = Transcoder("cp1252").to_utf8(wal_data(MESSAGES[name](text.encode("cp1252"))))
    assert read == wal_data(MESSAGES[name](text.encode()))


def test_what_the_encoding_does_not_know_becomes_a_replacement_character():
    read = Transcoder("cp1252").to_utf8(wal_data(MESSAGES["insert"](b"a\x81\xf6")))
    assert read == wal_data(MESSAGES["insert"]("a\ufffdö".encode()))


@pytest.mark.parametrize("envelope", [begin(0xFFFF), commit(0xFFFF), truncate(), keepalive(0xFFFF), b"w", b"", b"k"])
def test_what_has_no_text_stays(envelope: bytes):
    assert Transcoder("cp1252").to_utf8(envelope) == envelope


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_cut_short_stays(name: str):
    whole = wal_data(MESSAGES[name](b"gr\xf6\xdfe"))
    for size in range(len(whole)):
        read = Transcoder("cp1252").to_utf8(whole[:size])
        assert read == whole[:size] or (name.startswith("update") and size > len(whole) // 2), size


def test_a_kind_of_tuple_that_does_not_exist_stays():
    envelope = wal_data(b"I\0\0\0\x07X" + row(b"\xf6"))
    assert Transcoder("cp1252").to_utf8(envelope) == envelope
