import pytest

from pgcast.model.errors import WireError
from pgcast.model.snapshot import parse_snapshot


def test_a_printed_snapshot_is_read():
    snapshot = parse_snapshot("10:20:10,14,15", "1/A0")
    assert (snapshot.xmin, snapshot.xmax, snapshot.in_progress) == (10, 20, {10, 14, 15})
    assert snapshot.insert_lsn == (1 << 32) + 0xA0
    assert parse_snapshot("10:10:", "0/0").in_progress == frozenset()


@pytest.mark.parametrize(
    ("xid", "is_seen"), [(9, True), (10, False), (11, True), (14, False), (19, True), (20, False), (21, False)]
)
def test_what_was_finished_is_seen(xid: int, is_seen: bool):  # noqa: FBT001
    assert parse_snapshot("10:20:10,14,15", "0/0").sees(xid) is is_seen


def test_the_epoch_of_a_32_bit_id_is_the_nearest_one():
    wrapped = (1 << 32) + 5
    snapshot = parse_snapshot(f"{wrapped}:{wrapped}:", "0/0")
    assert snapshot.sees((1 << 32) - 1)
    assert snapshot.sees(4)
    assert not snapshot.sees(5)
    before = parse_snapshot(f"{(1 << 33) - 2}:{(1 << 33) - 2}:", "0/0")
    assert not before.sees(3), "it was given out after the wrap"


@pytest.mark.parametrize("text", ["", "1:2", "a:b:c", "1:2:x", "1:2:3:4"])
def test_anything_else_is_refused(text: str):
    with pytest.raises(WireError, match="not a snapshot"):
        parse_snapshot(text, "0/0")
    with pytest.raises(WireError, match="not an LSN"):
        parse_snapshot("1:1:", "nonsense")
