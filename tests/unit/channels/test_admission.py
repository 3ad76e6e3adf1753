import json

import pytest

from pgcast.channels.admission import admit, misconfigured
from pgcast.channels.channel import Channel, State
from pgcast.channels.limits import Limits
from pgcast.frames.message import BinaryPayload, Message
from pgcast.frames.payloads import Replay

TOPIC = "realtime:room:1"


def ask(payload, *, topic=TOPIC, limits=None, others=0, size=100):
    payload = payload if isinstance(payload, bytes | BinaryPayload) else json.dumps(payload).encode()
    return admit(Message("6", "7", topic, "phx_join", payload, size), limits or Limits(), others)


def test_a_join_with_config_is_a_channel_that_waits_for_a_decision():
    channel = ask(
        {
            "config": {
                "broadcast": {"ack": True},
                "presence": {"enabled": False},
                "postgres_changes": [{"event": "*", "schema": "public"}],
                "postgres_changes_options": {"wait": True, "timeout": 9000},
            }
        }
    )

    assert channel.state is State.JOINING
    assert (channel.topic, channel.join_ref, channel.legacy_topic) == (TOPIC, "6", None)
    assert (channel.is_acked, channel.wants_presence, channel.wants_wait, channel.wait_ms) == (True, False, True, 9000)
    assert not channel.gives_up
    assert [binding.schema for binding in channel.bindings] == ["public"]
    assert json.loads(channel.echo[0]) == {"event": "*", "schema": "public", "id": channel.bindings[0].id}


def test_a_join_without_config_makes_the_topic_the_binding():
    channel = ask({"user_token": "<jwt>"}, topic="realtime:public:todos:id=eq.5")

    assert channel.legacy_topic == "public:todos:id=eq.5"
    assert (channel.bindings, channel.echo) == ((), ())
    assert channel.gives_up


def test_a_channel_does_not_keep_the_payload_of_its_join():
    assert ask({"access_token": "<jwt>"}).request == Message("6", "7", TOPIC, "phx_join", b"null")


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', BinaryPayload(b"{}")])
def test_a_payload_that_is_no_object_is_refused(payload):
    assert ask(payload) == "InvalidJoinPayload: The join payload must be an object"


def test_an_empty_name_is_refused():
    assert ask({}, topic="realtime:") == "TopicNameRequired: You must provide a topic name"


def test_one_channel_too_many_is_refused():
    limits = Limits(max_channels=2)

    assert isinstance(ask({}, limits=limits, others=1), Channel)
    assert ask({}, limits=limits, others=2) == "ChannelRateLimitReached: Too many channels"


def test_a_limit_of_zero_channels_is_none():
    assert isinstance(ask({}, limits=Limits(max_channels=0), others=100_000), Channel)


def test_a_join_that_is_too_long_is_refused():
    limits = Limits(max_join_bytes=100)

    assert isinstance(ask({}, limits=limits, size=100), Channel)
    assert ask({}, limits=limits, size=101) == "InvalidJoinPayload: The join must be at most 100 bytes"


def test_a_join_with_too_many_entries_is_refused():
    limits = Limits(max_bindings=2)
    entries = [{"table": "a"}, {"table": "b"}]

    assert isinstance(ask({"config": {"postgres_changes": entries}}, limits=limits), Channel)
    assert ask({"config": {"postgres_changes": [*entries, {}]}}, limits=limits) == (
        "InvalidJoinPayload: The join must have at most 2 postgres_changes entries"
    )


def test_an_error_in_the_entries_leaves_a_channel_without_bindings():
    channel = ask({"config": {"postgres_changes": [{"schema": "*", "select": ["id"]}]}})

    assert channel.binding_error.startswith("Column selection is not supported")
    assert channel.bindings == ()
    assert len(channel.echo) == 1


def test_an_error_in_the_entries_refuses_a_join_that_waits_for_them():
    entries = {"postgres_changes": [{"schema": "*", "select": ["id"]}], "postgres_changes_options": {"wait": True}}

    assert ask({"config": entries}) == (
        "RealtimeDisabledForConfiguration: Column selection is not supported for wildcard subscriptions. "
        "Provide an explicit schema and table name."
    )


def test_an_error_in_the_bindings_has_one_code_as_a_refusal():
    assert misconfigured("why") == "RealtimeDisabledForConfiguration: why"


def test_what_the_join_says_of_broadcast_presence_and_privacy_is_the_channels():
    channel = ask(
        {
            "config": {
                "private": True,
                "broadcast": {"self": True, "replay": {"since": 5}, "replication_ready": True},
                "presence": {"key": "ada"},
            }
        }
    )

    assert (channel.is_private, channel.gets_own, channel.presence_key) == (True, True, "ada")
    assert (channel.replay, channel.wants_replication_ready) == (Replay(5, 25), True)


def test_a_replay_needs_a_private_channel_and_sound_parameters():
    broadcast = {"replay": {"since": 5}}
    assert ask({"config": {"broadcast": broadcast}}) == (
        "UnableToReplayMessages: Replay is not allowed for public channels"
    )
    assert ask({"config": {"private": True, "broadcast": {"replay": {}}}}) == (
        "UnableToReplayMessages: Replay params are not valid"
    )
