from making import table
from pgoutput import insert

from pgcast.changes.rows import make_row_reader
from pgcast.model.change import Change, Kind
from pgcast.wal.envelope import XLOG_DATA_HEADER
from pgcast.wal.messages import Watched
from pgcast.wal.watched import WatchedReader

BEHIND_OID = XLOG_DATA_HEADER + 5


def test_inserts_are_watched_and_read_as_ever():
    reader = WatchedReader(make_row_reader(table()))
    found = reader.insert(insert(7), BEHIND_OID)
    assert isinstance(found, Watched)
    assert found.change.values == (b"7", b"milk")
    assert isinstance(WatchedReader(reader).insert(insert(7), BEHIND_OID), Watched)


def test_other_changes_are_not():
    reader = WatchedReader(make_row_reader(table()))
    update = insert(7)
    assert isinstance(reader.update(update, BEHIND_OID), Change)
    old = update[:BEHIND_OID] + b"K" + update[BEHIND_OID + 1 :]
    assert reader.delete(old, BEHIND_OID).kind is Kind.DELETE
    assert reader.truncate().kind is Kind.TRUNCATE
