"""From one pgoutput message's bytes to one message: protocol version 1, text format.

The options `binary`, `streaming` and `two_phase` must be off: their messages are refused. Row changes go to the row
reader of their relation; whoever handles a RelationMessage puts the reader into `Decoder.readers` before the next
message is decoded.

Source: PostgreSQL, chapter "Logical Replication Message Formats".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias

from pgcast.model.errors import ReplicationWireError
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Column, Relation, ReplicaIdentity
from pgcast.wal.envelope import POSTGRES_EPOCH_US
from pgcast.wal.messages import Begin, Commit, LogicalMessage, Origin, RelationMessage, Truncate, TypeMessage, Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.model.change import Change
    from pgcast.wal.messages import RowReader

Message: TypeAlias = Begin | Commit | Origin | RelationMessage | TypeMessage | Truncate | LogicalMessage | Watched
"""Every message but a row change, unless its relation's reader calls it watched."""

_INSERT: Final = ord("I")
_UPDATE: Final = ord("U")
_DELETE: Final = ord("D")

_BYTE = struct.Struct(">B")
_INT16 = struct.Struct(">H")
_INT32 = struct.Struct(">I")
_INT32_SIGNED = struct.Struct(">i")
_INT64 = struct.Struct(">Q")
_INT64_SIGNED = struct.Struct(">q")

_read_oid: Callable[[bytes, int], tuple[int]] = _INT32.unpack_from

# The years 1 to 9999, outside of which nothing prints a commit time.
_EARLIEST_US: Final = -62_135_596_800_000_000
_LATEST_US: Final = 253_402_300_799_999_999

_IDENTITIES = {ord(identity.value): identity for identity in ReplicaIdentity}


class Decoder:
    """Decodes the messages of one replication stream, in order.

    Attributes:
        readers: The row reader of each announced relation, by OID; filled by the owner.
    """

    __slots__ = ("readers",)

    def __init__(self) -> None:
        self.readers: dict[int, RowReader] = {}

    def decode(self, data: bytes, start: int = 0) -> Message | Change:
        """Decode one message.

        Args:
            data: The message, or the envelope around it.
            start: Where the message starts in `data`; it goes to the end.

        Returns:
            The message; for Insert, Update and Delete the change, its `transaction` and `index` not set.

        Raises:
            ReplicationWireError: The bytes are no such message, or a row's relation has no reader.
        """
        # fast path: per change (benchmarks/decode.py). Bounds are checked by Python, once, here.
        try:
            tag = data[start]
            if tag == _INSERT:
                return self.readers[_read_oid(data, start + 1)[0]].insert(data, start + 5)
            if tag == _UPDATE:
                return self.readers[_read_oid(data, start + 1)[0]].update(data, start + 5)
            if tag == _DELETE:
                return self.readers[_read_oid(data, start + 1)[0]].delete(data, start + 5)
            parse = _PARSERS[tag]
            cursor = _Cursor(data, start + 1)
            message = parse(cursor)
        except (LookupError, struct.error) as error:
            raise self._complaint(data, start) from error
        cursor.finish()
        return message

    def _complaint(self, data: bytes, start: int) -> ReplicationWireError:
        """Say what is wrong with a message that could not be read."""
        tag = data[start : start + 1]
        if not tag:
            return ReplicationWireError("an empty message")
        if tag[0] in {_INSERT, _UPDATE, _DELETE}:
            oid = data[start + 1 : start + 5]
            if len(oid) == _INT32.size and int.from_bytes(oid) not in self.readers:
                return ReplicationWireError(f"a row of relation {int.from_bytes(oid)}, which was not announced")
        elif tag[0] not in _PARSERS:
            return ReplicationWireError(
                f"unknown message {tag!r}", hint="the options binary, streaming and two_phase must be off"
            )
        return ReplicationWireError(f"message {tag!r} of {len(data) - start} bytes is malformed, or cut short")


class _Cursor:
    """A place in a message that moves on as fields are taken; used where speed does not matter."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, layout: struct.Struct) -> int:
        (number,) = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return int(number)

    def take_lsn(self) -> Lsn:
        return Lsn(self.take(_INT64))

    def take_time(self) -> int:
        """Take microseconds since 2000-01-01, return microseconds since 1970-01-01."""
        time_us = self.take(_INT64_SIGNED) + POSTGRES_EPOCH_US
        if not _EARLIEST_US <= time_us <= _LATEST_US:
            raise ReplicationWireError(
                f"a time {time_us} us after 1970", hint="commit times lie in the years 1 to 9999"
            )
        return time_us

    def take_text(self) -> str:
        """Take a text that ends with a zero byte. Without an encoding (SQL_ASCII) it may be no UTF-8."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise ReplicationWireError("a text without its closing zero byte")
        text = self._data[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return text

    def take_bytes(self, size: int) -> bytes:
        """Take so many bytes; fewer, if the message is shorter, which `finish` finds."""
        content = self._data[self._at : self._at + size]
        self._at += size
        return content

    def left(self) -> int:
        return len(self._data) - self._at

    def finish(self) -> None:
        if self.left():
            raise ReplicationWireError(
                f"a message that is {abs(self.left())} bytes too {'long' if self.left() > 0 else 'short'}"
            )


def _parse_begin(cursor: _Cursor) -> Begin:
    # B | final LSN: 8 | commit time: 8 | xid: 4
    return Begin(cursor.take_lsn(), cursor.take_time(), cursor.take(_INT32))


def _parse_commit(cursor: _Cursor) -> Commit:
    # C | flags: 1 | commit LSN: 8 | end LSN: 8 | commit time: 8
    return Commit(cursor.take(_BYTE), cursor.take_lsn(), cursor.take_lsn(), cursor.take_time())


def _parse_origin(cursor: _Cursor) -> Origin:
    # O | commit LSN at the origin: 8 | name: text
    return Origin(cursor.take_lsn(), cursor.take_text())


def _parse_relation(cursor: _Cursor) -> RelationMessage:
    # R | OID: 4 | schema: text | name: text | replica identity: 1 | number of columns: 2 | columns
    oid, schema, name = cursor.take(_INT32), cursor.take_text(), cursor.take_text()
    identity = _IDENTITIES[cursor.take(_BYTE)]
    columns = tuple([_parse_column(cursor) for _ in range(cursor.take(_INT16))])
    return RelationMessage(Relation(oid, schema or "pg_catalog", name, identity, columns))


def _parse_column(cursor: _Cursor) -> Column:
    # flags, bit 0 = part of the identity: 1 | name: text | type OID: 4 | type modifier: 4
    is_key = cursor.take(_BYTE) & 1 != 0
    return Column(cursor.take_text(), cursor.take(_INT32), cursor.take(_INT32_SIGNED), is_key)


def _parse_type(cursor: _Cursor) -> TypeMessage:
    # Y | OID: 4 | schema: text | name: text
    return TypeMessage(cursor.take(_INT32), cursor.take_text() or "pg_catalog", cursor.take_text())


def _parse_truncate(cursor: _Cursor) -> Truncate:
    # T | number of relations: 4 | options, 1 = CASCADE, 2 = RESTART IDENTITY: 1 | OIDs: 4 each
    count, options = cursor.take(_INT32), cursor.take(_BYTE)
    if cursor.left() != count * _INT32.size:
        raise ReplicationWireError(f"a truncate of {count} relations with {cursor.left()} bytes of OIDs")
    oids = tuple([cursor.take(_INT32) for _ in range(count)])
    return Truncate(oids, cascade=options & 1 != 0, restart_identity=options & 2 != 0)


def _parse_logical_message(cursor: _Cursor) -> LogicalMessage:
    # M | flags, 1 = transactional: 1 | LSN: 8 | prefix: text | size: 4 | content
    transactional, lsn, prefix = cursor.take(_BYTE) & 1 != 0, cursor.take_lsn(), cursor.take_text()
    return LogicalMessage(transactional, lsn, prefix, cursor.take_bytes(cursor.take(_INT32)))


_PARSERS: Final[dict[int, Callable[[_Cursor], Message]]] = {
    ord("B"): _parse_begin,
    ord("C"): _parse_commit,
    ord("O"): _parse_origin,
    ord("R"): _parse_relation,
    ord("Y"): _parse_type,
    ord("T"): _parse_truncate,
    ord("M"): _parse_logical_message,
}
