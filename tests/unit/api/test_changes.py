"""Changes as Python programs get them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from making import NUMERIC, change, table, transaction

from pgcast.api.changes import Change, PlainChange, SyncChange
from pgcast.model.change import ABSENT, Kind


class Listener:
    def __init__(self) -> None:
        self.told = 0

    def acknowledged(self) -> None:
        self.told += 1


def test_an_insert_has_a_row_and_an_update_what_is_known_of_the_old_one_too():
    inserted = PlainChange(change(transaction(10)))
    assert (inserted.event, inserted.schema, inserted.table) == ("INSERT", "public", "todos")
    assert (inserted.record, inserted.old_record) == ({"id": 1}, None)
    updated = PlainChange(change(transaction(10), kind=Kind.UPDATE))
    assert (updated.event, updated.record, updated.old_record) == ("UPDATE", {"id": 1}, {"id": 1})
    truncated = PlainChange(change(transaction(10), kind=Kind.TRUNCATE))
    assert (truncated.event, truncated.record, truncated.old_record) == ("TRUNCATE", None, None)


def test_a_row_is_made_once():
    one = PlainChange(change(transaction(10), kind=Kind.DELETE))
    assert one.old_record is one.old_record
    both = PlainChange(change(transaction(10)))
    assert both.record is both.record


def test_it_tells_when_and_where():
    one = PlainChange(change(transaction(0x1234, xid=77, committed_us=1_700_000_000_123_456), 5))
    assert one.commit_timestamp == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    assert one.position == "0a0b0c0d-0000000000001234-00000005"
    assert one.transaction_id == 77
    assert repr(one) == "<PlainChange INSERT public.todos at 0a0b0c0d-0000000000001234-00000005>"


def test_text_is_what_postgres_prints():
    sums = table(total=NUMERIC, other=NUMERIC, none=NUMERIC)
    one = PlainChange(change(transaction(10), on=sums, values=(b"12345678901234567.89", ABSENT, None)))
    assert one.text("total") == "12345678901234567.89"
    assert one.text("none") is None
    for missing in ("other", "nowhere"):
        with pytest.raises(KeyError, match=missing):
            one.text(missing)
    deleted = PlainChange(change(transaction(10), on=sums, kind=Kind.DELETE, values=(b"1", b"2", b"3")))
    assert deleted.text("other") == "2"
    with pytest.raises(KeyError):
        PlainChange(change(transaction(10), kind=Kind.TRUNCATE)).text("id")


def test_json_that_orjson_refuses_is_read_all_the_same():
    committed = change(transaction(10))
    committed.record = b'{"id":1,"more":"\\ud800","large":1e999}'
    assert PlainChange(committed).record == {"id": 1, "more": "\ud800", "large": float("inf")}


async def test_an_acknowledgement_is_told_to_the_listener():
    listener = Listener()
    one = Change(change(transaction(10)), listener)
    assert not one.is_done
    await one.ack()
    assert one.is_done
    other = SyncChange(change(transaction(10)), listener)
    other.ack()
    other.ack()
    assert other.is_done
    assert listener.told == 3
