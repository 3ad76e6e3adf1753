from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgcast.changes.oids import builtin_shape
from pgcast.changes.rows import make_row_reader
from pgcast.model.change import Change, Kind
from pgcast.model.errors import ReplicationWireError
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table
from pgcast.wal.decoder import Decoder
from pgcast.wal.messages import Begin, Commit, LogicalMessage, Origin, RelationMessage, Truncate, TypeMessage

if TYPE_CHECKING:
    from pgcast.wal.messages import RowReader

BEGIN = bytes.fromhex(
    "42"  # B
    "00000016 b374d848"  # final LSN
    "0002ea5dbb1f6f35"  # commit time
    "000002e9"  # xid
)
COMMIT = bytes.fromhex(
    "43"  # C
    "00"  # flags
    "00000016 b374d848"  # commit LSN
    "00000016 b374d880"  # end LSN
    "0002ea5dbb1f6f35"  # commit time
)
ORIGIN = bytes.fromhex(
    "4f"  # O
    "00000016 b374d848"  # commit LSN there
    "6e6f6465 00"  # name: node
)
RELATION = bytes.fromhex(
    "52"  # R
    "00004010"  # OID
    "7075626c6963 00"  # schema: public
    "746f646f73 00"  # name: todos
    "64"  # replica identity: d
    "0002"  # columns
    "01 6964 00 00000014 ffffffff"  # key, id, int8, no modifier
    "00 7469746c65 00 00000413 00000024"  # title, varchar(32)
)
TYPE = bytes.fromhex(
    "59"  # Y
    "00004011"  # OID
    "7075626c6963 00"  # schema: public
    "6d6f6f64 00"  # name: mood
)
TRUNCATE = bytes.fromhex(
    "54"  # T
    "00000002"  # relations
    "03"  # CASCADE, RESTART IDENTITY
    "00004010 00004012"  # OIDs
)
LOGICAL_MESSAGE = bytes.fromhex(
    "4d"  # M
    "01"  # transactional
    "00000016 b374d848"  # LSN
    "6862 00"  # prefix: hb
    "00000003 010203"  # content
)
INSERT = bytes.fromhex(
    "49"  # I
    "00004010"  # OID
    "4e 0002"  # new tuple, columns
    "74 00000001 37"  # text: 7
    "74 00000004 6d696c6b"  # text: milk
)
UPDATE = bytes.fromhex(
    "55"  # U
    "00004010"  # OID
    "4e 0002"  # new tuple, columns
    "74 00000001 37"  # text: 7
    "6e"  # NULL
)
DELETE = bytes.fromhex(
    "44"  # D
    "00004010"  # OID
    "4b 0002"  # key tuple, columns
    "74 00000001 37"  # text: 7
    "6e"  # NULL
)

TODOS = Relation(
    0x4010,
    "public",
    "todos",
    ReplicaIdentity.DEFAULT,
    (Column("id", 20, -1, is_key=True), Column("title", 1043, 36, is_key=False)),
)

COMMITTED_US = 1_767_323_045_678_901


@pytest.fixture
def decoder() -> Decoder:
    made = Decoder()
    shapes = tuple(shape for column in TODOS.columns if (shape := builtin_shape(column.type_oid)))
    reader: RowReader = make_row_reader(Table(TODOS, shapes, (0,)))
    made.readers[TODOS.oid] = reader
    return made


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN, Begin(0x16_B374D848, COMMITTED_US, 745)),
        (COMMIT, Commit(0, 0x16_B374D848, 0x16_B374D880, COMMITTED_US)),
        (ORIGIN, Origin(0x16_B374D848, "node")),
        (RELATION, RelationMessage(TODOS)),
        (TYPE, TypeMessage(0x4011, "public", "mood")),
        (TRUNCATE, Truncate((0x4010, 0x4012), cascade=True, restart_identity=True)),
        (LOGICAL_MESSAGE, LogicalMessage(transactional=True, lsn=0x16_B374D848, prefix="hb", content=b"\1\2\3")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_message_is_read_field_by_field(decoder, data, message):
    assert decoder.decode(data) == message
    assert decoder.decode(b"an envelope before it" + data, 21) == message


@pytest.mark.parametrize(
    ("data", "kind", "record", "old_record"),
    [
        (INSERT, Kind.INSERT, b'{"id":7,"title":"milk"}', None),
        (UPDATE, Kind.UPDATE, b'{"id":7,"title":null}', b'{"id":7}'),
        (DELETE, Kind.DELETE, None, b'{"id":7}'),
    ],
)
def test_a_row_message_becomes_a_change(decoder, data, kind, record, old_record):
    for change in (decoder.decode(data), decoder.decode(b"w" * 25 + data, 25)):
        assert isinstance(change, Change)
        assert (change.table.name, change.kind) == ("todos", kind)
        assert (change.record, change.old_record) == (record, old_record)


def test_the_empty_schema_is_pg_catalog(decoder):
    relation = decoder.decode(RELATION.replace(b"public", b"")).relation

    assert relation.schema == "pg_catalog"
    assert decoder.decode(TYPE.replace(b"public", b"")).schema == "pg_catalog"


@pytest.mark.parametrize("letter", ["d", "n", "f", "i"])
def test_every_replica_identity_is_known(decoder, letter):
    relation = decoder.decode(RELATION.replace(b"todos\0d", b"todos\0" + letter.encode())).relation

    assert relation.identity is ReplicaIdentity(letter)


def test_a_table_may_have_no_columns(decoder):
    assert decoder.decode(b"R\0\0\0\1s\0t\0d\0\0").relation == Relation(1, "s", "t", ReplicaIdentity.DEFAULT, ())


def test_a_name_that_is_no_utf8_is_read_all_the_same(decoder):
    assert decoder.decode(TYPE.replace(b"mood", b"m\xff")).name == "m\ufffd"


def test_options_that_are_not_set_are_false(decoder):
    truncate = decoder.decode(TRUNCATE.replace(b"\2\3", b"\2\0"))

    assert (truncate.cascade, truncate.restart_identity) == (False, False)
    assert decoder.decode(LOGICAL_MESSAGE.replace(b"M\1", b"M\0")).transactional is False


def test_a_message_that_is_not_transactional_may_be_empty(decoder):
    message = decoder.decode(b"M\0" + b"\0" * 8 + b"\0" + b"\0" * 4)

    assert message == LogicalMessage(transactional=False, lsn=0, prefix="", content=b"")


ALL = [BEGIN, COMMIT, ORIGIN, RELATION, TYPE, TRUNCATE, LOGICAL_MESSAGE, INSERT, UPDATE, DELETE]


@pytest.mark.parametrize("data", ALL, ids=lambda data: chr(data[0]))
def test_a_message_cut_short_is_refused_wherever_it_is_cut(decoder, data):
    for size in range(len(data)):
        with pytest.raises(ReplicationWireError):
            decoder.decode(data[:size])


@pytest.mark.parametrize("data", ALL, ids=lambda data: chr(data[0]))
def test_bytes_behind_a_message_are_refused(decoder, data):
    with pytest.raises(ReplicationWireError):
        decoder.decode(data + b"\0")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "an empty message"),
        (b"S\0\0\2\xe9\1", "unknown message b'S'"),
        (INSERT.replace(b"\x40\x10", b"\x40\x11"), "a row of relation 16401, which was not announced"),
        (UPDATE.replace(b"\x40\x10", b"\x40\x11"), "a row of relation 16401"),
        (DELETE.replace(b"\x40\x10", b"\x40\x11"), "a row of relation 16401"),
        (b"I\0\0", "message b'I' of 3 bytes is malformed, or cut short"),
        (BEGIN[:-1], "message b'B' of 20 bytes is malformed, or cut short"),
        (BEGIN + b"xyz", "3 bytes too long"),
        (LOGICAL_MESSAGE[:-1], "1 bytes too short"),
        (TYPE[:-1], "without its closing zero byte"),
        (RELATION.replace(b"todos\0d", b"todos\0x"), "message b'R' of 48 bytes is malformed"),
        (BEGIN.replace(b"\0\2\xea\x5d", b"\x7f\2\xea\x5d"), "a time .* us after 1970"),
        (BEGIN.replace(b"\0\2\xea\x5d", b"\x81\2\xea\x5d"), "a time .* us after 1970"),
        (TRUNCATE.replace(b"\0\0\0\2\3", b"\xff\0\0\2\3"), "a truncate of 4278190082 relations with 8 bytes"),
    ],
)
def test_what_is_wrong_is_said(decoder, data, complaint):
    with pytest.raises(ReplicationWireError, match=complaint):
        decoder.decode(data)


def test_an_unknown_message_comes_with_a_hint(decoder):
    with pytest.raises(ReplicationWireError) as caught:
        decoder.decode(b"S\0\0\2\xe9\1")

    assert caught.value.hint == "the options binary, streaming and two_phase must be off"
