import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcast.model.errors import WireError
from pgcast.model.lsn import Lsn, format_lsn, parse_lsn


def test_an_lsn_is_printed_as_postgres_prints_it():
    assert format_lsn(Lsn(0x16_B374D848)) == "16/B374D848"
    assert format_lsn(Lsn(0)) == "0/0"
    assert format_lsn(Lsn(0x1_00000001)) == "1/1"


@given(st.integers(0, 2**64 - 1))
def test_what_is_printed_can_be_read(number: int):
    assert parse_lsn(format_lsn(Lsn(number))) == number


@pytest.mark.parametrize("text", ["", "16", "16/", "/1", "g/1", "1/2/3", "123456789/0", "0/123456789", " 1/2", "1/٣"])
def test_anything_else_is_no_lsn(text: str):
    with pytest.raises(WireError, match="not an LSN"):
        parse_lsn(text)
