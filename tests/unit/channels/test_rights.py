from pgcast.channels.rights import EVERYTHING, Right, Rights


def test_nothing_is_known_until_it_is_asked():
    assert [Rights().has(right) for right in Right] == [None] * 4
    assert [EVERYTHING.has(right) for right in Right] == [True] * 4


def test_one_right_is_decided_and_the_others_stay():
    rights = Rights(read_broadcasts=True).decided(Right.WRITE_PRESENCE, is_allowed=False)

    assert rights == Rights(read_broadcasts=True, write_presence=False)
