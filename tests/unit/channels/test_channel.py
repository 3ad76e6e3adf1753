import pytest

from pgcast.channels.channel import Channel, State, Step
from pgcast.frames.message import Message


def channel():
    return Channel("realtime:room:1", Message("6", "7", "realtime:room:1", "phx_join"))


def test_a_channel_knows_its_name_and_the_join_ref_of_its_join():
    assert channel().name == "room:1"
    assert channel().join_ref == "6"


def test_a_channel_joins_and_ends():
    joined = channel()
    assert joined.state is State.JOINING

    joined.step(Step.ACCEPT)
    assert joined.state is State.JOINED

    joined.step(Step.END)
    assert joined.state is State.ENDED


def test_a_channel_may_end_before_it_is_joined():
    refused = channel()
    refused.step(Step.END)

    assert refused.state is State.ENDED


@pytest.mark.parametrize("step", [Step.ACCEPT, Step.END])
def test_a_channel_that_has_ended_goes_nowhere(step):
    ended = channel()
    ended.step(Step.END)

    with pytest.raises(KeyError):
        ended.step(step)


def test_two_channels_of_one_topic_are_not_the_same():
    assert len({channel(), channel()}) == 2
