from pgcast.frames.message import Message


def test_a_message_of_our_own_has_an_empty_object_as_payload():
    assert Message("1", "1", "realtime:a", "phx_close").payload == b"{}"
