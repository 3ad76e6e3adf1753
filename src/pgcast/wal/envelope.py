"""What stands around pgoutput on the replication stream: envelopes read from it, status updates sent back.

An envelope is the content of one CopyData message: WAL data (`w`, with one pgoutput message inside) or a primary
keepalive (`k`). Times on the wire are microseconds since 2000-01-01 UTC; here they are since 1970-01-01 UTC.

Source: PostgreSQL, chapter "Streaming Replication Protocol".
"""

from __future__ import annotations

import struct
from typing import Final

from pgcast.model.errors import ReplicationWireError
from pgcast.model.lsn import Lsn

XLOG_DATA: Final = ord("w")
"""The first byte of an envelope with WAL data."""

KEEPALIVE: Final = ord("k")
"""The first byte of a primary keepalive."""

XLOG_DATA_HEADER: Final = 25
"""Where the pgoutput message starts in an envelope with WAL data."""

POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 UTC, in microseconds since 1970-01-01 UTC."""

# k | end of WAL on the server: 8 | time: 8 | reply requested: 1
_KEEPALIVE = struct.Struct(">BQqB")
# r | write: 8 | flush: 8 | apply: 8 | time: 8 | reply requested: 1
_STATUS = struct.Struct(">BQQQqB")


class Keepalive:
    """A primary keepalive.

    Attributes:
        wal_end: The end of the WAL that the server has read for this stream.
        sent_us: The server's time when it was sent, microseconds since 1970-01-01 UTC.
        reply_requested: Whether the server wants a status update at once.
    """

    __slots__ = ("reply_requested", "sent_us", "wal_end")

    def __init__(self, wal_end: Lsn, sent_us: int, *, reply_requested: bool) -> None:
        self.wal_end = wal_end
        self.sent_us = sent_us
        self.reply_requested = reply_requested


def parse_keepalive(envelope: bytes) -> Keepalive:
    """Read a primary keepalive.

    Raises:
        ReplicationWireError: The envelope is no keepalive, or not 18 bytes long.
    """
    if len(envelope) != _KEEPALIVE.size or envelope[0] != KEEPALIVE:
        raise ReplicationWireError(
            f"not a keepalive: {len(envelope)} bytes that start with {envelope[:1]!r}",
            hint="a keepalive is b'k' and 17 bytes",
        )
    _, wal_end, sent_us, reply_requested = _KEEPALIVE.unpack(envelope)
    return Keepalive(Lsn(wal_end), sent_us + POSTGRES_EPOCH_US, reply_requested=reply_requested != 0)


def status_update(*, received: Lsn, flushed: Lsn, applied: Lsn, now_us: int, reply_requested: bool) -> bytes:
    """Build a standby status update.

    Args:
        received: The `write` position.
        flushed: The `flush` position, the only one that moves the slot; 0 leaves it where it is.
        applied: The `apply` position.
        now_us: The time, microseconds since 1970-01-01 UTC.
        reply_requested: Ask the server for a keepalive at once.
    """
    return _STATUS.pack(ord("r"), received, flushed, applied, now_us - POSTGRES_EPOCH_US, reply_requested)
