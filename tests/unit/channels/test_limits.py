from pgcast.channels.limits import Limits


def test_a_session_starts_generous():
    assert Limits().max_channels == 1000
    assert Limits().max_bindings == 1000


def test_what_is_held_is_less_than_what_one_frame_may_bring():
    assert Limits().max_held_bytes < 5_000_000
