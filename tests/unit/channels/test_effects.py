import pytest

from pgcast.channels.channel import Channel
from pgcast.channels.effects import Close, Join, Leave, Send
from pgcast.frames.message import Message


def test_effects_are_compared_by_what_they_ask_for():
    channel, another = (Channel("realtime:a", Message("6", "6", "realtime:a", "phx_join")) for _ in range(2))

    assert Send(b"x") == Send(b"x") != Send(b"y")
    assert Join(channel) == Join(channel) != Join(another)
    assert Leave(channel) != Join(channel)
    assert Close(1012, "restart") == Close(1012, "restart")


def test_an_effect_cannot_be_changed():
    with pytest.raises(AttributeError):
        Send(b"x").frame = b"y"
