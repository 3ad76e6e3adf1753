from __future__ import annotations

import pytest

from pgcast.model.errors import ReplicationWireError
from pgcast.model.lsn import Lsn
from pgcast.wal.envelope import (
    KEEPALIVE,
    XLOG_DATA,
    XLOG_DATA_HEADER,
    parse_keepalive,
    status_update,
)

# 2026-01-02 03:04:05.678901 UTC, since 1970 and, in the bytes, since 2000.
NOW_US = 1_767_323_045_678_901

KEEPALIVE_ENVELOPE = bytes.fromhex(
    "6b"  # k
    "00000016 b374d848"  # end of WAL
    "0002ea5dbb1f6f35"  # time
    "01"  # reply requested
)

WAL_ENVELOPE = bytes.fromhex(
    "77"  # w
    "00000016 b374d800"  # start
    "00000016 b374d848"  # end of WAL
    "0002ea5dbb1f6f35"  # time
    "42"  # the message: no more than its tag
)


def test_a_keepalive_tells_position_time_and_whether_an_answer_is_wanted():
    keepalive = parse_keepalive(KEEPALIVE_ENVELOPE)

    assert keepalive.wal_end == 0x16_B374D848
    assert keepalive.sent_us == NOW_US
    assert keepalive.reply_requested is True


def test_a_keepalive_may_want_no_answer():
    assert parse_keepalive(KEEPALIVE_ENVELOPE[:-1] + b"\0").reply_requested is False


@pytest.mark.parametrize("envelope", [b"", b"k", KEEPALIVE_ENVELOPE[:-1], KEEPALIVE_ENVELOPE + b"\0", b"w" * 18])
def test_anything_else_is_no_keepalive(envelope):
    with pytest.raises(ReplicationWireError, match=f"not a keepalive: {len(envelope)} bytes"):
        parse_keepalive(envelope)


def test_the_tags_are_the_first_bytes_and_the_message_follows_its_header():
    assert (WAL_ENVELOPE[0], KEEPALIVE_ENVELOPE[0]) == (XLOG_DATA, KEEPALIVE)
    assert WAL_ENVELOPE[XLOG_DATA_HEADER:] == b"B"


def test_a_status_update_is_34_bytes_in_the_order_of_the_manual():
    update = status_update(
        received=Lsn(0x16_B374D848), flushed=Lsn(0), applied=Lsn(0x16_B374D800), now_us=NOW_US, reply_requested=True
    )

    assert update == bytes.fromhex(
        "72"  # r
        "00000016 b374d848"  # write
        "00000000 00000000"  # flush
        "00000016 b374d800"  # apply
        "0002ea5dbb1f6f35"  # time
        "01"  # reply requested
    )


def test_a_status_update_need_not_ask_for_an_answer():
    update = status_update(received=Lsn(1), flushed=Lsn(2), applied=Lsn(3), now_us=0, reply_requested=False)

    assert update[-1] == 0
    assert int.from_bytes(update[25:33], signed=True) == -946_684_800_000_000
