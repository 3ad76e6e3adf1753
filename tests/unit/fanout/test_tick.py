from pgcast.fanout.tick import LARGE_BYTES, gather

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
