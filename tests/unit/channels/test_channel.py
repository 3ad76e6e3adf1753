from dataclasses import replace

import pytest

from pgcast.channels.channel import Channel, State, Step
from pgcast.channels.limits import Limits
from pgcast.frames.message import Message
from pgcast.model.binding import Binding
from pgcast.model.claims import Claims


def channel():
    return Channel("realtime:room:1", Message("6", "7", "realtime:room:1", "phx_join"))


def test_a_channel_knows_its_name_and_the_join_ref_of_its_join():
    assert channel().name == "room:1"
    assert channel().join_ref == "6"


def test_a_channel_has_the_role_of_its_claims():
    assert channel().role is None
    assert replace(channel(), claims=Claims("anon", 0.0)).role == "anon"


def test_a_channel_wants_changes_if_it_has_bindings_or_its_topic_is_one():
    assert not channel().wants_changes
    assert replace(channel(), legacy_topic="public:todos").wants_changes
    assert replace(channel(), bindings=(Binding(1, None, None, None, None),)).wants_changes


def test_presence_messages_are_counted_over_a_minute_and_over_30_seconds():
    slow, quick = Limits(max_presence_calls=2), Limits(max_presence_per_s=0.05)
    calls, rate = channel(), channel()

    assert [calls.count_presence(slow, now_s) for now_s in (0.0, 1.0, 31.5)] == [None, None, None]
    assert calls.count_presence(slow, 32.0) is None
    assert calls.count_presence(slow, 33.0) == ("presence_calls", "Client presence rate limit exceeded")
    assert [rate.count_presence(quick, 0.0) for _ in range(2)] == [None, None]
    assert rate.count_presence(quick, 0.0) == ("presence", "Too many presence messages per second")
    assert channel().count_presence(Limits(), 0.0) is None


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
