"""Whatever the bytes, a decoder returns a message or raises ReplicationWireError."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgcast.changes.oids import builtin_shape
from pgcast.changes.rows import make_row_reader
from pgcast.model.change import Change
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table, TypeKind, TypeShape
from pgcast.wal.decoder import Decoder
from pgcast.wal.envelope import parse_keepalive

# A busy machine is no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PAIR = TypeShape(16400, "pair", TypeKind.COMPOSITE, fields=(("a", builtin_shape(1185)), ("b", builtin_shape(23))))

SAMPLES = {
    20: b"-9223372036854775808",
    25: 'größe "q" \\ \n'.encode(),
    16: b"t",
    1184: b"2026-01-02 03:04:05.678+00",
    17: b"\\xdeadbeef",
    1700: b"NaN",
    1009: b'{{a,"b \\"c\\""},{NULL,"NULL"}}',
    3802: b'{"a": [1, null]}',
    1020: b"{(3,4),(1,2);NULL}",
    16400: b'("{""2026-01-02 03:04:05+00"",NULL}",5)',
    22: b"1 2",
}

SHAPES = tuple(builtin_shape(oid) or PAIR for oid in SAMPLES)


def make_table(oid: int, identity: ReplicaIdentity, keys: int) -> Table:
    columns = tuple(Column(f"c{number}", oid, -1, number < keys) for number, oid in enumerate(SAMPLES))
    return Table(Relation(oid, "public", "t", identity, columns), SHAPES, (0,))


DECODER = Decoder()
for made in (
    make_table(1, ReplicaIdentity.DEFAULT, 2),
    make_table(2, ReplicaIdentity.FULL, len(SAMPLES)),
    make_table(3, ReplicaIdentity.NOTHING, 0),
):
    DECODER.readers[made.relation.oid] = make_row_reader(made)


def tuple_of(marker: bytes, values: list[bytes]) -> bytes:
    return marker + struct.pack(">H", len(values)) + b"".join(values)


def text(value: bytes) -> bytes:
    return b"t" + struct.pack(">I", len(value)) + value


tuples = st.tuples(*[st.sampled_from([text(value), text(value), b"n", b"u"]) for value in SAMPLES.values()]).map(list)
oids = st.sampled_from([struct.pack(">I", oid) for oid in (1, 2, 3)])
news = tuples.map(lambda values: tuple_of(b"N", values))
olds = st.tuples(st.sampled_from([b"K", b"O"]), tuples).map(lambda old: tuple_of(*old))

row_messages = st.one_of(
    st.tuples(st.just(b"I"), oids, news),
    st.tuples(st.just(b"U"), oids, st.one_of(st.just(b""), olds), news),
    st.tuples(st.just(b"D"), oids, olds),
).map(b"".join)

other_messages = st.sampled_from(
    [
        b"B" + bytes(20),
        b"C" + bytes(25),
        b"O" + bytes(8) + b"node\0",
        b"R\0\0\0\1public\0todos\0d\0\2\1id\0\0\0\0\x14\xff\xff\xff\xff\0title\0\0\0\0\x19\xff\xff\xff\xff",
        b"Y\0\0\x40\1public\0mood\0",
        b"T\0\0\0\2\3\0\0\0\1\0\0\0\2",
        b"M\1" + bytes(8) + b"hb\0\0\0\0\3abc",
    ]
)

messages = st.one_of(row_messages, other_messages)


def decode_or_refuse(data: bytes, start: int = 0) -> None:
    with suppress(ReplicationWireError):
        DECODER.decode(data, start)


@unhurried
@given(st.binary(), st.integers(0, 4))
def test_any_bytes_are_read_or_refused(data, start):
    decode_or_refuse(data, start)


@unhurried
@given(st.sampled_from(b"BCORYTMIUD"), oids, st.binary())
def test_any_bytes_behind_a_tag_are_read_or_refused(tag, oid, rest):
    decode_or_refuse(bytes([tag]) + oid + rest)


@unhurried
@given(messages, st.data())
def test_damaged_messages_are_read_or_refused(message, data):
    damaged = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse(bytes(damaged))


@unhurried
@given(messages, st.data())
def test_messages_cut_short_or_too_long_are_refused(message, data):
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    for wrong in (cut, message + data.draw(st.binary(min_size=1))):
        with pytest.raises(ReplicationWireError):
            DECODER.decode(wrong)


@unhurried
@given(row_messages)
def test_a_whole_row_message_is_a_change_with_json_in_it(message):
    change = DECODER.decode(message)

    assert isinstance(change, Change)
    for record in (change.record, change.old_record):
        assert record is None or isinstance(json.loads(record), dict)


@unhurried
@given(st.binary())
def test_any_envelope_is_read_or_refused(envelope):
    with suppress(ReplicationWireError):
        parse_keepalive(envelope)
