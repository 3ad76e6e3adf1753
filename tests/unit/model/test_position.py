import pytest

from pgcast.model.errors import BindingError
from pgcast.model.lsn import Lsn, format_lsn, parse_lsn
from pgcast.model.position import Position, epoch_of, parse_position


def test_a_position_is_printed_and_read_back():
    position = Position("5f0c2a9e", Lsn(0x0A3B4C58), 42)
    assert str(position) == "5f0c2a9e-000000000a3b4c58-0000002a"
    assert parse_position(str(position)) == position


def test_positions_sort_as_strings_in_commit_order():
    ordered = [Position("5f0c2a9e", Lsn(lsn), index) for lsn, index in ((9, 1), (10, 0), (10, 2), (1 << 40, 0))]
    assert sorted(ordered) == ordered
    assert sorted(map(str, ordered)) == list(map(str, ordered))


@pytest.mark.parametrize(
    "text", ["", "x", "5f0c2a9e-000000000a3b4c58", "5F0C2A9E-000000000A3B4C58-0000002A", "a" * 10**6]
)
def test_what_is_no_position_is_refused(text: str):
    with pytest.raises(BindingError, match="not a position"):
        parse_position(text)


def test_an_epoch_tells_databases_apart():
    assert epoch_of("7512", "16384") != epoch_of("7512", "16385")
    assert len(epoch_of("1", "1")) == 8


def test_an_lsn_is_printed_as_postgres_does():
    assert format_lsn(Lsn(0x16B374D848)) == "16/B374D848"
    assert parse_lsn("16/B374D848") == 0x16B374D848
    assert format_lsn(parse_lsn("0/0")) == "0/0"
