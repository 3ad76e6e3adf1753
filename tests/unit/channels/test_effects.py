import pytest

from pgcast.channels.channel import Channel
from pgcast.channels.effects import Ask, Close, Enter, Join, Leave, Publish, Send
from pgcast.channels.rights import Right
from pgcast.frames.broadcast import Broadcast
from pgcast.frames.message import Message


def test_effects_are_compared_by_what_they_ask_for():
    channel, another = (Channel("realtime:a", Message("6", "6", "realtime:a", "phx_join")) for _ in range(2))

    assert Send(b"x") == Send(b"x") != Send(b"y")
    assert Join(channel) == Join(channel) != Join(another)
    assert Leave(channel) != Join(channel)
    assert Enter(channel) == Enter(channel) != Join(channel)
    assert Publish(channel, Broadcast("e")) == Publish(channel, Broadcast("e")) != Publish(channel, Broadcast("f"))
    assert Ask(channel, Right.WRITE_PRESENCE) != Ask(channel, Right.WRITE_BROADCASTS)
    assert Close(1012, "restart") == Close(1012, "restart")


def test_an_effect_cannot_be_changed():
    with pytest.raises(AttributeError):
        Send(b"x").frame = b"y"
