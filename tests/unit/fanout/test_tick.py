from pgcast.fanout.tick import LARGE_BYTES, gather, without

LARGE = b"x" * LARGE_BYTES


def test_small_parts_are_joined():
    assert gather([b"a", b"b", b"", b"c"]) == (b"abc",)
    assert gather([]) == ()


def test_large_parts_are_left_alone_and_the_order_is_kept():
    pieces = gather([b"a", b"b", LARGE, b"c", b"d", LARGE, LARGE, b"e"])
    assert pieces == (b"ab", LARGE, b"cd", LARGE, LARGE, b"e")
    assert all(piece is LARGE for piece in pieces if len(piece) == LARGE_BYTES)


def test_it_begins_and_ends_with_whatever_is_there():
    assert gather([LARGE]) == (LARGE,)
    assert gather([LARGE, b"a"]) == (LARGE, b"a")


def test_ranges_are_left_out_of_a_tick():
    pieces = (b"0123456789", LARGE, b"abc")
    end = 10 + LARGE_BYTES

    assert without(pieces, []) == pieces
    assert without(pieces, [(0, 3), (5, 7)]) == (b"34789", LARGE, b"abc")
    assert without(pieces, [(10, end)]) == (b"0123456789abc",)
    assert without(pieces, [(8, end + 1)]) == (b"01234567bc",)
    assert without(pieces, [(0, end + 3)]) == ()


def test_what_is_left_of_a_large_piece_stays_a_piece_of_its_own():
    larger = LARGE + b"yy"

    assert without((larger,), [(0, 1), (LARGE_BYTES, LARGE_BYTES + 1)]) == (b"x" * (LARGE_BYTES - 1) + b"y",)
    assert without((b"a", larger), [(LARGE_BYTES + 1, LARGE_BYTES + 3)]) == (b"a", LARGE)
