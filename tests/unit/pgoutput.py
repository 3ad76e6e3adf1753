"""Envelopes as Postgres sends them, for what reads them (PostgreSQL, "Logical Replication Message Formats")."""

from __future__ import annotations

import struct

TODOS_OID = 16_400
COMMITTED_US = 820_000_000_000_000  # since 2000-01-01


def wal_data(message: bytes, lsn: int = 0) -> bytes:
    # w | start of the WAL data: 8 | end of WAL on the server: 8 | time: 8 | message
    return struct.pack(">BQQq", ord("w"), lsn, 0, COMMITTED_US) + message


def keepalive(wal_end: int, *, reply_requested: bool = False) -> bytes:
    # k | end of WAL on the server: 8 | time: 8 | reply requested: 1
    return struct.pack(">BQqB", ord("k"), wal_end, COMMITTED_US, reply_requested)


def begin(commit_lsn: int, *, xid: int | None = None) -> bytes:
    # B | final LSN: 8 | commit time: 8 | xid: 4
    return wal_data(struct.pack(">BQqI", ord("B"), commit_lsn, COMMITTED_US, commit_lsn if xid is None else xid))


def commit(commit_lsn: int) -> bytes:
    # C | flags: 1 | commit LSN: 8 | end LSN: 8 | commit time: 8
    return wal_data(struct.pack(">BBQQq", ord("C"), 0, commit_lsn, end_of(commit_lsn), COMMITTED_US))


def end_of(commit_lsn: int) -> int:
    """Where the tests' commit records end."""
    return commit_lsn + 8


def relation() -> bytes:
    """Announce `public.todos (id int8 primary key, title text)`."""
    columns = b"\x01id\0" + struct.pack(">Ii", 20, -1) + b"\x00title\0" + struct.pack(">Ii", 25, -1)
    # R | OID: 4 | schema | name | replica identity: 1 | number of columns: 2 | columns
    return wal_data(b"R" + struct.pack(">I", TODOS_OID) + b"public\0todos\0d" + struct.pack(">H", 2) + columns)


def insert(row_id: int, title: str = "milk", *, lsn: int = 0) -> bytes:
    texts = [str(row_id).encode(), title.encode()]
    values = b"".join(b"t" + struct.pack(">I", len(text)) + text for text in texts)
    # I | OID: 4 | N | number of columns: 2 | values
    return wal_data(b"I" + struct.pack(">I", TODOS_OID) + b"N" + struct.pack(">H", 2) + values, lsn)


def message(content: bytes, *, prefix: str = "p", lsn: int = 0, transactional: bool = True) -> bytes:
    # M | flags: 1 | LSN: 8 | prefix | size: 4 | content
    head = b"M" + struct.pack(">BQ", transactional, lsn) + prefix.encode() + b"\0"
    return wal_data(head + struct.pack(">I", len(content)) + content)


def truncate() -> bytes:
    # T | number of relations: 4 | options: 1 | OIDs
    return wal_data(b"T" + struct.pack(">IBI", 1, 0, TODOS_OID))


def transaction(commit_lsn: int, *row_ids: int, announced: bool = True, xid: int | None = None) -> list[bytes]:
    """Return a whole transaction of inserts."""
    announcement = [relation()] if announced else []
    return [begin(commit_lsn, xid=xid), *announcement, *map(insert, row_ids), commit(commit_lsn)]
