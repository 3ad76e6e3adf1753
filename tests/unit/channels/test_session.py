import json
from collections import Counter

import pytest

from pgcast.channels.channel import State
from pgcast.channels.effects import (
    Ask,
    Close,
    Enter,
    Join,
    Leave,
    Publish,
    Regrant,
    Renew,
    Send,
    Track,
    Untrack,
    Watch,
)
from pgcast.channels.limits import Limits
from pgcast.channels.rights import EVERYTHING, Right, Rights
from pgcast.channels.session import Outcome, Session
from pgcast.frames.broadcast import Broadcast
from pgcast.frames.codec import serializer_for
from pgcast.frames.websocket import text_frame

TOPIC = "realtime:room:1"
QUIET = {"config": {"presence": {"enabled": False}}}
TODOS = {"config": {"presence": {"enabled": False}, "postgres_changes": [{"event": "*", "table": "todos"}]}}


class Talk:
    """A client and the owner of its session, at one table."""

    def __init__(self, vsn="2.0.0", **limits):
        self.limited = Counter()
        self.session = Session(serializer_for(vsn), Limits(**limits), self.limited)
        self.vsn = vsn

    def says(self, event, payload=None, *, topic=TOPIC, ref="9", join_ref="6", now_s=0.0):
        payload = {} if payload is None else payload
        if self.vsn == "1.0.0":
            message = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
        else:
            message = [join_ref, ref, topic, event, payload]
        return self.session.receive_text(json.dumps(message), now_s)

    def asks_to_join(self, payload=QUIET, *, topic=TOPIC, ref="6", join_ref="6"):
        """Return the channel of a join that starts at once."""
        effects = self.says("phx_join", payload, topic=topic, ref=ref, join_ref=join_ref)
        assert isinstance(effects[-1], Join), effects
        return effects[-1].channel

    def has_joined(self, payload=QUIET, *, topic=TOPIC, join_ref="6"):
        channel = self.asks_to_join(payload, topic=topic, ref=join_ref, join_ref=join_ref)
        self.session.join_decided(channel, Outcome())
        assert channel.state is State.JOINED
        return channel


def told(effects):
    """Return the texts of the frames sent, and all other effects as they are; that a room is entered is left out."""
    return [
        payload_of(effect.frame) if isinstance(effect, Send) else effect
        for effect in effects
        if not isinstance(effect, Enter)
    ]


def payload_of(frame):
    for header in (2, 4):
        if text_frame(frame[header:]) == frame:
            return frame[header:].decode()
    raise AssertionError(frame)


def error_reply(reason, *, ref="9", join_ref='"6"'):
    return f'[{join_ref},"{ref}","{TOPIC}","phx_reply",{{"status":"error","response":{{"reason":"{reason}"}}}}]'


OK_JOIN = f'["6","6","{TOPIC}","phx_reply",{{"status":"ok","response":{{"postgres_changes":[]}}}}]'
OK_LEAVE = f'["6","9","{TOPIC}","phx_reply",{{"status":"ok","response":{{}}}}]'
CLOSED = f'["6","6","{TOPIC}","phx_close",{{}}]'


def ok_join_of(channel):
    return (
        f'["6","6","{TOPIC}","phx_reply",{{"status":"ok","response":{{"postgres_changes":'
        f'[{{"event":"*","table":"todos","id":{channel.bindings[0].id}}}]}}}}]'
    )


def system(status, text):
    return (
        f'["6",null,"{TOPIC}","system",{{"extension":"postgres_changes","status":"{status}",'
        f'"message":"{text}","channel":"room:1"}}]'
    )


# Heartbeats


def test_a_heartbeat_is_answered():
    effects = Talk().session.receive_text('[null,"7","phoenix","heartbeat",{}]')

    assert told(effects) == ['[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]']


def test_a_heartbeat_of_an_older_client_is_answered():
    effects = Talk("1.0.0").session.receive_text('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"7"}')

    assert told(effects) == [
        '{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"7"}'
    ]


def test_a_heartbeat_may_have_no_ref_and_no_payload():
    effects = Talk("1.0.0").session.receive_text('{"topic":"phoenix","event":"heartbeat","payload":null,"ref":null}')

    assert told(effects) == [
        '{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":null}'
    ]


def test_a_heartbeat_does_not_wait_for_an_undecided_join():
    talk = Talk()
    talk.asks_to_join()

    assert len(talk.says("heartbeat", topic="phoenix")) == 1


# Messages that cannot be read, or mean nothing


@pytest.mark.parametrize("text", ["", "secret", "{}", '["secret"]', b"[null,null,\xff]"])
def test_a_malformed_text_is_dropped_and_counted_and_its_content_not_repeated(text):
    talk = Talk()

    assert talk.session.receive_text(text) == []
    assert talk.session.malformed == 1
    assert talk.session.malformed_reason
    assert "secret" not in talk.session.malformed_reason


def test_a_malformed_binary_message_is_dropped_and_counted():
    talk = Talk()

    assert talk.session.receive_binary(b"\x04") == []
    assert (talk.session.malformed, talk.session.malformed_reason) == (1, "a binary message of kind 4")


def test_a_binary_message_of_an_older_client_is_malformed():
    talk = Talk("1.0.0")

    assert talk.session.receive_binary(b"\x00\x00\x00\x00\x00") == []
    assert talk.session.malformed == 1


def test_the_session_goes_on_after_a_malformed_message():
    talk = Talk()
    talk.session.receive_text("nonsense")

    assert len(talk.says("heartbeat", topic="phoenix")) == 1


def test_an_unknown_event_on_a_joined_channel_is_counted_and_not_answered():
    talk = Talk()
    talk.has_joined()

    assert talk.says("nonsense") == []
    assert talk.session.ignored == 1


def test_a_binary_push_on_a_joined_channel_is_unexpected():
    talk = Talk()
    talk.has_joined()

    assert talk.session.receive_binary(b"\x00\x01\x01\x0f\x01" + b"69" + TOPIC.encode() + b"x") == []
    assert talk.session.ignored == 1


# Topics that are not joined


@pytest.mark.parametrize("event", ["broadcast", "presence", "access_token", "nonsense"])
def test_a_push_on_a_topic_that_is_not_joined_is_unmatched(event):
    assert told(Talk().says(event)) == [error_reply("unmatched topic", join_ref="null")]


@pytest.mark.parametrize("topic", ["room:1", "phoenix", "", "realtim:x", "Realtime:x"])
@pytest.mark.parametrize("event", ["phx_join", "broadcast"])
def test_a_topic_without_the_prefix_is_unmatched(topic, event):
    assert told(Talk().says(event, topic=topic)) == [
        f'[null,"9","{topic}","phx_reply",{{"status":"error","response":{{"reason":"unmatched topic"}}}}]'
    ]


@pytest.mark.parametrize("topic", [TOPIC, "room:1", "phoenix"])
def test_a_leave_of_a_topic_that_is_not_joined_is_ok_and_repeats_both_refs(topic):
    assert told(Talk().says("phx_leave", topic=topic)) == [
        f'["6","9","{topic}","phx_reply",{{"status":"ok","response":{{}}}}]'
    ]


# Joining


def test_a_join_is_for_the_owner_to_decide():
    talk = Talk()

    channel = talk.asks_to_join(TODOS)

    assert channel.state is State.JOINING
    assert list(talk.session.channels) == [channel]


def test_a_join_without_bindings_is_replied_to_with_an_empty_list():
    talk = Talk()

    assert told(talk.session.join_decided(talk.asks_to_join(), Outcome())) == [OK_JOIN]


def test_a_channel_forgets_the_entries_that_its_reply_has_repeated():
    talk = Talk()

    assert talk.has_joined(TODOS).echo == ()


def test_a_join_of_an_older_client_is_replied_to_without_join_ref():
    talk = Talk("1.0.0")

    assert told(talk.session.join_decided(talk.asks_to_join(ref="1"), Outcome())) == [
        (
            '{"topic":"realtime:room:1","event":"phx_reply",'
            '"payload":{"status":"ok","response":{"postgres_changes":[]}},"ref":"1"}'
        )
    ]


def test_a_join_whose_ref_is_not_its_join_ref_gets_both_back():
    talk = Talk()

    (reply,) = told(talk.session.join_decided(talk.asks_to_join(ref="8", join_ref="6"), Outcome()))

    assert reply.startswith('["6","8",')


def test_a_join_with_bindings_is_told_after_its_reply_that_they_are_in_force():
    talk = Talk()
    channel = talk.asks_to_join(TODOS)

    assert told(talk.session.join_decided(channel, Outcome())) == [
        ok_join_of(channel),
        system("ok", "Subscribed to PostgreSQL"),
    ]


@pytest.mark.parametrize("presence", [None, {}, {"key": "k"}, {"enabled": True}])
def test_a_channel_that_did_not_decline_presence_watches_after_its_reply(presence):
    talk = Talk()
    channel = talk.asks_to_join({"config": {"presence": presence}})

    assert told(talk.session.join_decided(channel, Outcome())) == [OK_JOIN, Watch(channel)]


def test_a_channel_that_may_not_read_presence_does_not_watch():
    talk = Talk()
    channel = talk.asks_to_join({"config": {}})

    assert told(talk.session.join_decided(channel, Outcome(rights=Rights(read_presence=False)))) == [OK_JOIN]


def test_who_is_there_is_told_with_the_channels_join_ref():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.session.presence_state(channel, (b'{"a":1}', b'{"b":2}'))) == [
        f'["6",null,"{TOPIC}","presence_state",{{"a":1}}]',
        f'[null,null,"{TOPIC}","presence_diff",{{"b":2}}]',
    ]
    talk.says("phx_leave")
    assert talk.session.presence_state(channel, (b"{}",)) == []


def test_bindings_that_are_not_in_force_yet_are_announced_later():
    talk = Talk()
    channel = talk.asks_to_join(TODOS)

    assert told(talk.session.join_decided(channel, Outcome(is_live=False))) == [ok_join_of(channel)]
    assert told(talk.session.subscribed(channel)) == [system("ok", "Subscribed to PostgreSQL")]


def test_what_a_client_has_to_know_of_its_bindings_comes_with_the_news_that_they_are_in_force():
    talk = Talk()
    channel = talk.asks_to_join(TODOS)

    _, noted = told(talk.session.join_decided(channel, Outcome(note="not wholly")))
    assert noted == system("ok", "Subscribed to PostgreSQL").replace("}]", ',"note":"not wholly"}]')
    assert told(talk.session.subscribed(channel, "not wholly")) == [noted]


def test_bindings_that_cannot_be_served_are_told_after_an_ok_reply_and_the_channel_stays():
    talk = Talk()
    channel = talk.asks_to_join(TODOS)

    assert told(talk.session.join_decided(channel, Outcome(error="no such table"))) == [
        ok_join_of(channel),
        system("error", "no such table"),
    ]
    assert channel.state is State.JOINED


def test_bindings_that_cannot_be_read_are_told_after_an_ok_reply_that_repeats_them():
    talk = Talk()
    channel = talk.asks_to_join(
        {"config": {"presence": {"enabled": False}, "postgres_changes": [{"schema": "*", "select": ["id"]}]}}
    )

    reply, error = told(talk.session.join_decided(channel, Outcome()))
    assert '"response":{"postgres_changes":[{"schema":"*","select":["id"],"id":' in reply
    assert error == system(
        "error",
        "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.",
    )


def test_bindings_that_cannot_be_served_refuse_a_join_that_waits_for_them():
    talk = Talk()
    config = {**TODOS["config"], "postgres_changes_options": {"wait": True}}
    channel = talk.asks_to_join({"config": config})

    assert told(talk.session.join_decided(channel, Outcome(error="no such table"))) == [
        Leave(channel),
        error_reply("RealtimeDisabledForConfiguration: no such table", ref="6"),
    ]
    assert channel.state is State.ENDED


def test_a_refused_join_ends_its_channel():
    talk = Talk()
    channel = talk.asks_to_join(TODOS)

    assert told(talk.session.join_decided(channel, Outcome(refusal="RealtimeRestarting: wait"))) == [
        Leave(channel),
        error_reply("RealtimeRestarting: wait", ref="6"),
    ]
    assert told(talk.says("broadcast")) == [error_reply("unmatched topic", join_ref="null")]


def test_a_join_that_needs_no_decision_to_be_refused_is_refused_at_once():
    talk = Talk()

    assert told(talk.says("phx_join", [])) == [error_reply("InvalidJoinPayload: The join payload must be an object")]
    assert list(talk.session.channels) == []


def test_a_binary_push_cannot_join():
    effects = Talk().session.receive_binary(b"\x00\x01\x01\x0f\x08" + b"69" + TOPIC.encode() + b"phx_join")

    assert told(effects) == [error_reply("InvalidJoinPayload: The join payload must be an object")]


def test_a_join_is_answered_once():
    talk = Talk()
    channel = talk.asks_to_join()
    talk.session.join_decided(channel, Outcome())

    assert talk.session.join_decided(channel, Outcome()) == []


def test_channels_are_counted_over_all_topics():
    talk = Talk(max_channels=2)
    talk.has_joined(topic="realtime:a")
    talk.asks_to_join(topic="realtime:b")

    assert told(talk.says("phx_join")) == [error_reply("ChannelRateLimitReached: Too many channels")]


def test_a_rejoin_is_not_one_more_channel():
    talk = Talk(max_channels=1)
    talk.has_joined()

    talk.asks_to_join()


# The oldest protocol


def test_a_join_of_the_oldest_protocol_gets_its_reply_and_nothing_else():
    talk = Talk("1.0.0")
    channel = talk.asks_to_join({"user_token": "<jwt>"}, topic="realtime:public:todos:id=eq.5", ref="1")

    assert channel.legacy_topic == "public:todos:id=eq.5"
    assert told(talk.session.join_decided(channel, Outcome())) == [
        (
            '{"topic":"realtime:public:todos:id=eq.5","event":"phx_reply",'
            '"payload":{"status":"ok","response":{"postgres_changes":[]}},"ref":"1"}'
        )
    ]


def test_a_topic_of_the_oldest_protocol_that_will_never_get_anything_is_joined_all_the_same():
    talk = Talk("1.0.0")
    channel = talk.asks_to_join({})

    assert len(told(talk.session.join_decided(channel, Outcome(error="no such table")))) == 1
    assert channel.state is State.JOINED


def test_a_channel_of_the_oldest_protocol_is_told_of_a_gap():
    talk = Talk("1.0.0")
    channel = talk.has_joined({})

    (message,) = told(talk.session.gap(channel, None))

    assert '"event":"system","payload":{"extension":"system","status":"ok"' in message


# While a join is not decided


def test_messages_on_an_undecided_topic_are_held_and_handled_in_order_after_the_reply():
    talk = Talk()
    channel = talk.asks_to_join({"config": {}})

    assert talk.says("presence", {"event": "track"}, ref="7") == []
    assert talk.says("nonsense", ref="8") == []
    assert talk.says("phx_leave") == []
    assert told(talk.session.join_decided(channel, Outcome())) == [
        OK_JOIN,
        Watch(channel),
        OK_LEAVE.replace('"9"', '"7"'),
        Track(channel, b""),
        Leave(channel),
        OK_LEAVE,
        CLOSED,
    ]


def test_messages_held_for_a_refused_join_are_unmatched():
    talk = Talk()
    channel = talk.asks_to_join()
    talk.says("presence")

    assert told(talk.session.join_decided(channel, Outcome(refusal="Code: why"))) == [
        Leave(channel),
        error_reply("Code: why", ref="6"),
        error_reply("unmatched topic", join_ref="null"),
    ]


def test_a_second_join_waits_for_the_first_and_holds_what_comes_after_it():
    talk = Talk()
    first = talk.asks_to_join()
    assert talk.says("phx_join", QUIET, ref="8", join_ref="8") == []
    assert talk.says("phx_leave", ref="9", join_ref="8") == []

    *before, join = talk.session.join_decided(first, Outcome())
    second = join.channel
    assert told(before) == [OK_JOIN, Leave(first)]
    assert told(talk.session.join_decided(second, Outcome())) == [
        OK_JOIN.replace('"6"', '"8"'),
        Leave(second),
        OK_LEAVE.replace('"6"', '"8"'),
        CLOSED.replace('"6"', '"8"'),
    ]


def test_other_topics_do_not_wait():
    talk = Talk()
    talk.asks_to_join()

    talk.has_joined(topic="realtime:other")


def test_too_many_held_messages_are_answered_with_an_error():
    talk = Talk(max_held=2)
    talk.asks_to_join(topic="realtime:other")
    talk.says("presence", topic="realtime:other")
    channel = talk.asks_to_join()
    talk.says("presence")

    assert told(talk.says("phx_leave")) == [error_reply("TooManyMessages: The channel still waits for a decision")]
    assert len(told(talk.session.join_decided(channel, Outcome()))) == 2
    assert channel.state is State.JOINED


def test_held_messages_are_bounded_in_bytes_too():
    talk = Talk(max_held_bytes=100)
    talk.asks_to_join()

    assert talk.says("broadcast", {"event": "x"}) == []
    assert told(talk.says("broadcast", {"event": "x" * 100})) == [
        error_reply("TooManyMessages: The channel still waits for a decision")
    ]


def test_a_right_is_asked_also_where_its_first_use_is_a_long_message():
    talk = Talk(max_held_bytes=100)
    channel = talk.asks_to_join(ACKED)
    talk.session.join_decided(channel, Outcome(rights=Rights(read_broadcasts=True)))

    assert talk.says("broadcast", {"event": "x" * 100}) == [Ask(channel, Right.WRITE_BROADCASTS)]
    assert told(talk.says("phx_leave")) == [error_reply("TooManyMessages: The channel still waits for a decision")]
    publish, *_ = talk.session.right_decided(channel, Right.WRITE_BROADCASTS, is_allowed=True)
    assert isinstance(publish, Publish)


def test_a_token_that_cannot_be_held_is_not_replied_to_either():
    talk = Talk(max_held=0)
    talk.asks_to_join()

    assert talk.says("access_token", {"access_token": "<jwt>"}) == []
    assert talk.session.ignored == 1


def test_what_was_held_makes_room_when_it_is_handled():
    talk = Talk(max_held=1, max_held_bytes=60)
    talk.session.join_decided(talk.asks_to_join(), Outcome())
    for _ in range(3):
        channel = talk.asks_to_join()
        assert talk.says("presence") == []
        talk.session.join_decided(channel, Outcome())


# Joining again


def test_a_rejoin_ends_the_old_channel_without_a_close_and_starts_a_new_one():
    talk = Talk()
    old = talk.has_joined()

    effects = talk.says("phx_join", QUIET, ref="8", join_ref="8")

    new = effects[-1].channel
    assert effects == [Leave(old), Join(new)]
    assert (old.state, new.state, new.join_ref) == (State.ENDED, State.JOINING, "8")


def test_the_old_channel_ends_also_when_the_new_join_is_refused():
    talk = Talk()
    old = talk.has_joined()

    assert told(talk.says("phx_join", [])) == [
        Leave(old),
        error_reply("InvalidJoinPayload: The join payload must be an object"),
    ]
    assert old.state is State.ENDED


# Leaving


def test_a_leave_is_answered_and_then_the_channel_is_closed():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.says("phx_leave")) == [Leave(channel), OK_LEAVE, CLOSED]
    assert list(talk.session.channels) == []


def test_a_leave_of_an_older_client_is_closed_with_its_join_ref_as_ref():
    talk = Talk("1.0.0")
    channel = talk.has_joined()

    assert told(talk.says("phx_leave")) == [
        Leave(channel),
        '{"topic":"realtime:room:1","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"9"}',
        '{"topic":"realtime:room:1","event":"phx_close","payload":{},"ref":"6"}',
    ]


def test_a_leave_without_join_ref_leaves():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.says("phx_leave", join_ref=None))[0] == Leave(channel)


def test_a_leave_leaves_a_channel_that_was_joined_without_join_ref():
    talk = Talk("1.0.0")
    channel = talk.has_joined(join_ref=None)

    assert told(talk.says("phx_leave"))[0] == Leave(channel)
    assert told(talk.says("phx_leave"))[0].endswith('"ref":"9"}')


def test_a_late_leave_of_an_earlier_join_is_answered_and_ends_nothing():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.says("phx_leave", join_ref="3")) == [OK_LEAVE.replace('"6"', '"3"')]
    assert channel.state is State.JOINED


# Pushes on a joined channel


@pytest.mark.parametrize("join_ref", ["6", "3", None])
def test_a_push_is_answered_whatever_its_join_ref(join_ref):
    talk = Talk()
    talk.has_joined()

    assert told(talk.says("presence", join_ref=join_ref)) == [
        OK_LEAVE.replace('"6"', json.dumps(join_ref)),
    ]


@pytest.mark.parametrize("token", ["<jwt>", ""])
def test_a_token_is_handed_on_and_never_replied_to(token):
    talk = Talk()
    channel = talk.has_joined()

    assert talk.says("access_token", {"access_token": token}) == [Renew(channel, token)]
    assert talk.session.ignored == 0


@pytest.mark.parametrize(
    "payload", [{"access_token": "sb_publishable_x"}, {"access_token": None}, {"access_token": 5}, {}, []]
)
def test_what_is_no_token_means_to_keep_the_old_one(payload):
    talk = Talk()
    talk.has_joined()

    assert talk.says("access_token", payload) == []


def test_new_rights_take_the_place_of_the_old_ones():
    talk = Talk()
    channel = talk.has_joined()
    before = Rights(read_broadcasts=True, write_broadcasts=True, read_presence=False)
    channel.rights, channel.wants_presence = before, True
    rights = Rights(read_broadcasts=True, read_presence=True)
    talk.says("access_token", {"access_token": "<jwt>"})

    assert talk.session.renewed(channel, rights) == [Regrant(channel), Watch(channel)]
    assert channel.rights == rights
    assert talk.session.renewed(channel, EVERYTHING) == [], "it is answered once"


def test_what_follows_a_new_token_waits_for_its_rights():
    talk = Talk()
    channel = talk.has_joined()
    talk.says("access_token", {"access_token": "<jwt>"})
    assert talk.says("broadcast", HI) == []
    assert told(talk.says("heartbeat", topic="phoenix")) != []

    assert talk.session.renewed(channel, Rights(read_broadcasts=True)) == [
        Regrant(channel),
        Ask(channel, Right.WRITE_BROADCASTS),
    ]


def test_after_a_token_that_changes_nothing_all_goes_on_as_before():
    talk = Talk()
    channel = talk.has_joined()
    talk.says("access_token", {"access_token": "<jwt>"})
    talk.says("access_token", {"access_token": "<jwt 2>"})
    talk.says("presence")

    assert talk.session.renewed(channel) == [Renew(channel, "<jwt 2>")]
    assert told(talk.session.renewed(channel)) == [OK_LEAVE]
    assert channel.rights == EVERYTHING


def test_a_token_that_ends_the_channel_ends_it_for_what_was_held_too():
    talk = Talk()
    channel = talk.has_joined()
    talk.says("access_token", {"access_token": "<jwt>"})
    talk.says("presence")

    *_, last = told(talk.session.shut(channel, "Token has expired 1 seconds ago"))
    assert "unmatched topic" in last


def test_a_channel_that_has_ended_has_no_rights_any_more():
    talk = Talk()
    channel = talk.has_joined()
    talk.session.close()

    assert talk.session.renewed(channel, EVERYTHING) == []


# Broadcast


HI = {"type": "broadcast", "event": "hi", "payload": {"a": 1}}
HI_TEXT = b'{"type": "broadcast", "event": "hi", "payload": {"a": 1}}'
ACKED = {"config": {"broadcast": {"ack": True}, "presence": {"enabled": False}}}


def user_broadcast(data, *, encoding=1):
    return b"\x03\x01\x01\x0f\x02\x00%c" % encoding + b"69" + TOPIC.encode() + b"hi" + data


def test_a_room_is_entered_right_after_the_reply():
    talk = Talk()
    channel = talk.asks_to_join()

    reply, enter = talk.session.join_decided(channel, Outcome())
    assert payload_of(reply.frame) == OK_JOIN
    assert enter == Enter(channel)


def test_a_broadcast_is_published_as_it_came_and_not_replied_to():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.says("broadcast", HI)) == [Publish(channel, Broadcast("", verbatim=HI_TEXT))]


def test_a_broadcast_is_replied_to_where_that_was_asked_for():
    talk = Talk()
    channel = talk.has_joined(ACKED)

    assert told(talk.says("broadcast", HI)) == [Publish(channel, Broadcast("", verbatim=HI_TEXT)), OK_LEAVE]


@pytest.mark.parametrize(("encoding", "is_json"), [(1, True), (9, True), (0, False)])
def test_a_user_broadcast_in_binary_is_a_broadcast(encoding, is_json):
    talk = Talk()
    channel = talk.has_joined(ACKED)

    effects = talk.session.receive_binary(user_broadcast(b"{}", encoding=encoding))
    assert told(effects) == [Publish(channel, Broadcast("hi", b"{}", is_json)), OK_LEAVE]


@pytest.mark.parametrize("payload", [[], "x", 5, True])
def test_what_is_no_object_is_dropped(payload):
    talk = Talk()
    talk.has_joined(ACKED)
    talk.has_joined(topic="realtime:other")

    assert told(talk.says("broadcast", payload)) == [error_reply("invalid_payload")]
    assert talk.says("broadcast", payload, topic="realtime:other") == []
    assert talk.session.ignored == 2


@pytest.mark.parametrize("data", [b"", b"{", b'{"a":1}x', b"\xff", b'"\xff"', b"nope"])
def test_what_says_it_is_json_and_is_not_is_dropped(data):
    talk = Talk()
    talk.has_joined(ACKED)

    assert told(talk.session.receive_binary(user_broadcast(data))) == [error_reply("invalid_payload")]


def test_a_broadcast_that_is_too_large_is_dropped():
    talk = Talk(max_payload_bytes=10)
    talk.has_joined(ACKED)
    talk.has_joined(topic="realtime:other")

    assert len(talk.session.receive_binary(user_broadcast(b"x" * 10, encoding=0))) == 2
    assert told(talk.session.receive_binary(user_broadcast(b"x" * 11, encoding=0))) == [
        error_reply("payload_size_exceeded")
    ]
    assert talk.says("broadcast", HI, topic="realtime:other") == []
    assert talk.limited == {"payload": 2}


def test_nothing_is_too_large_without_a_limit():
    talk = Talk(max_payload_bytes=0)
    talk.has_joined()

    assert len(talk.session.receive_binary(user_broadcast(b"x" * 4_000_000, encoding=0))) == 1


def test_without_the_right_to_it_nothing_is_published():
    talk = Talk()
    talk.session.join_decided(talk.asks_to_join(ACKED), Outcome(rights=Rights(write_broadcasts=False)))

    assert told(talk.says("broadcast", HI)) == [error_reply("unauthorized")]


def test_a_right_is_asked_at_its_first_use_and_what_comes_meanwhile_is_held():
    talk = Talk()
    channel = talk.asks_to_join(ACKED)
    talk.session.join_decided(channel, Outcome(rights=Rights(read_broadcasts=True)))

    assert talk.says("broadcast", HI, ref="1") == [Ask(channel, Right.WRITE_BROADCASTS)]
    assert talk.says("broadcast", HI, ref="2") == []
    assert talk.says("phx_leave") == []
    effects = told(talk.session.right_decided(channel, Right.WRITE_BROADCASTS, is_allowed=True))
    publish = Publish(channel, Broadcast("", verbatim=HI_TEXT))
    assert effects == [
        *(publish, OK_LEAVE.replace('"9"', '"1"'), publish, OK_LEAVE.replace('"9"', '"2"')),
        *(Leave(channel), OK_LEAVE, CLOSED),
    ]


def test_a_right_that_was_refused_is_not_asked_again():
    talk = Talk()
    channel = talk.asks_to_join()
    talk.session.join_decided(channel, Outcome(rights=Rights(read_broadcasts=True)))
    talk.says("broadcast", HI)

    assert talk.session.right_decided(channel, Right.WRITE_BROADCASTS, is_allowed=False) == []
    assert talk.says("broadcast", HI) == []


def test_a_right_that_nobody_waits_for_decides_nothing():
    talk = Talk()
    channel = talk.has_joined()
    talk.says("phx_leave")

    assert talk.session.right_decided(channel, Right.WRITE_BROADCASTS, is_allowed=False) == []
    assert talk.session.right_decided(talk.has_joined(), Right.WRITE_BROADCASTS, is_allowed=False) == []


def test_what_cannot_be_held_for_a_right_is_refused_and_the_right_is_not_asked():
    talk = Talk(max_held=0)
    channel = talk.asks_to_join()
    talk.session.join_decided(channel, Outcome(rights=Rights(read_broadcasts=True)))

    assert told(talk.says("broadcast", HI)) == [error_reply("TooManyMessages: The channel still waits for a decision")]


def test_a_channel_that_breaks_while_it_waits_answers_what_was_held():
    talk = Talk()
    channel = talk.asks_to_join(ACKED)
    talk.session.join_decided(channel, Outcome(rights=Rights(read_broadcasts=True)))
    talk.says("broadcast", HI)

    assert told(talk.session.broken(channel))[-1] == error_reply("unmatched topic", join_ref="null")


def test_a_channel_that_is_shut_is_told_why_and_closed():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.session.shut(channel, "Too many messages per second")) == [
        Leave(channel),
        system("error", "Too many messages per second").replace("postgres_changes", "system"),
        CLOSED,
    ]
    assert talk.session.shut(channel, "again") == []


# Presence


PRESENT = {"config": {"presence": {"key": "ada"}}}


@pytest.mark.parametrize(
    ("payload", "members"),
    [
        ({"type": "presence", "event": "track", "payload": {"name": "ada"}}, b'"name":"ada"'),
        ({"event": "TRACK", "payload": {"b": [1], "a": None}}, b'"a":null,"b":[1]'),
        ({"event": "track", "payload": {"phx_ref": "x", "phx_ref_prev": "y", "a": 1}}, b'"a":1'),
        ({"event": "track", "payload": {}}, b""),
        ({"event": "track", "payload": None}, b""),
        ({"event": "track"}, b""),
    ],
)
def test_a_track_is_replied_to_and_makes_the_channel_present(payload, members):
    talk = Talk()
    channel = talk.has_joined(PRESENT)

    assert told(talk.says("presence", payload)) == [OK_LEAVE, Track(channel, members)]


def test_an_untrack_is_replied_to():
    talk = Talk()
    channel = talk.has_joined(PRESENT)

    assert told(talk.says("presence", {"event": "Untrack", "payload": {}})) == [OK_LEAVE, Untrack(channel)]


@pytest.mark.parametrize("payload", [{}, {"event": None}, {"event": 5}, {"event": ""}])
def test_a_presence_message_without_an_event_is_ok_and_does_nothing(payload):
    talk = Talk()
    talk.has_joined(PRESENT)

    assert told(talk.says("presence", payload)) == [OK_LEAVE]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"event": "track", "payload": [1]}, "Presence track payload must be a map"),
        ({"event": "track", "payload": "x"}, "Presence track payload must be a map"),
        ({"event": "nonsense"}, "Unknown presence event"),
        ([], "Presence payload must be a map"),
        ("x", "Presence payload must be a map"),
    ],
)
def test_a_presence_message_that_means_nothing_is_an_error(payload, reason):
    talk = Talk()
    talk.has_joined(PRESENT)

    assert told(talk.says("presence", payload)) == [error_reply(reason)]


def test_a_track_on_a_channel_that_declined_presence_lets_it_watch_first():
    talk = Talk()
    channel = talk.has_joined(QUIET)

    assert told(talk.says("presence", {"event": "track"})) == [OK_LEAVE, Watch(channel), Track(channel, b"")]
    assert told(talk.says("presence", {"event": "track"})) == [OK_LEAVE, Track(channel, b"")]


def test_a_channel_of_the_oldest_protocol_watches_once_it_tracks():
    talk = Talk("1.0.0")
    channel = talk.asks_to_join({})
    assert len(told(talk.session.join_decided(channel, Outcome()))) == 1

    assert told(talk.says("presence", {"event": "track"}))[1:] == [Watch(channel), Track(channel, b"")]


def test_a_track_that_may_not_be_read_by_its_own_channel_does_not_let_it_watch():
    talk = Talk()
    channel = talk.asks_to_join(QUIET)
    talk.session.join_decided(channel, Outcome(rights=Rights(write_presence=True)))

    assert told(talk.says("presence", {"event": "track"})) == [OK_LEAVE, Track(channel, b"")]


def test_the_right_to_track_is_asked_at_its_first_use():
    talk = Talk()
    channel = talk.asks_to_join(PRESENT)
    talk.session.join_decided(channel, Outcome(rights=Rights(read_presence=True)))

    assert talk.says("presence", {"event": "track"}) == [Ask(channel, Right.WRITE_PRESENCE)]
    assert told(talk.session.right_decided(channel, Right.WRITE_PRESENCE, is_allowed=False)) == [
        error_reply("unauthorized")
    ]
    assert told(talk.says("presence", {"event": "untrack"})) == [OK_LEAVE, Untrack(channel)]


# Limits


def shut(channel, text):
    return [Leave(channel), system("error", text).replace("postgres_changes", "system"), CLOSED]


def test_too_many_messages_shut_the_channel_that_handles_one():
    talk = Talk(max_messages_per_s=0.05)  # three a minute
    channel = talk.has_joined()
    other = talk.has_joined(topic="realtime:other")
    for now_s in (0.0, 1.0):
        assert len(talk.says("broadcast", HI, now_s=now_s)) == 1
    for _ in range(5):
        talk.says("heartbeat", topic="phoenix")

    assert told(talk.says("broadcast", HI, now_s=2.0)) == shut(channel, "Too many messages per second")
    assert other.state is State.JOINED
    assert talk.says("broadcast", HI, topic="realtime:other", now_s=3.0)[0] == Leave(other)
    assert talk.limited == {"messages": 2}


def test_too_many_presence_messages_shut_the_channel():
    talk = Talk(max_presence_per_s=0.05)
    channel = talk.has_joined(PRESENT)
    talk.says("presence", {"event": "track"})
    talk.says("presence", {"event": "untrack"}, now_s=59.0)

    assert told(talk.says("presence", {"event": "track"}, now_s=59.5)) == (
        shut(channel, "Too many presence messages per second")
    )
    assert talk.limited == {"presence": 1}


def test_too_many_presence_calls_in_a_while_shut_the_channel():
    talk = Talk(max_presence_calls=2)
    channel = talk.has_joined(PRESENT)
    for now_s in (0.0, 29.0, 30.0):
        assert len(talk.says("presence", {}, now_s=now_s)) == 1

    assert told(talk.says("presence", {}, now_s=58.0)) == shut(channel, "Client presence rate limit exceeded")
    assert talk.limited == {"presence_calls": 1}


def test_a_track_that_is_too_large_shuts_the_channel():
    talk = Talk(max_payload_bytes=10)
    channel = talk.has_joined(PRESENT)
    assert len(talk.says("presence", {"event": "track", "payload": {"a": "1"}})) == 2

    assert told(talk.says("presence", {"event": "track", "payload": {"a": "1234"}})) == (
        shut(channel, "Track message size exceeded")
    )


# What the owner has to tell


def test_a_gap_is_told_to_a_joined_channel():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.session.gap(channel, "p")) == [
        (
            f'["6",null,"{TOPIC}","system",{{"extension":"system","status":"ok",'
            '"message":"GapDetected: changes before p are no longer held; fetch the data again",'
            '"channel":"room:1","code":"GapDetected","oldest":"p"}]'
        )
    ]


def test_an_error_of_the_database_is_told_and_the_channel_stays():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.session.system_error(channel, "away")) == [system("error", "away")]
    assert channel.state is State.JOINED


def test_a_broken_channel_ends_with_an_error_that_makes_clients_join_again():
    talk = Talk()
    channel = talk.has_joined()

    assert told(talk.session.broken(channel)) == [Leave(channel), f'["6","6","{TOPIC}","phx_error",{{}}]']
    assert channel.state is State.ENDED


def test_a_channel_that_breaks_before_its_join_is_decided_refuses_the_join():
    talk = Talk()
    channel = talk.asks_to_join()
    talk.says("presence")

    assert told(talk.session.broken(channel)) == [
        Leave(channel),
        error_reply("UnknownErrorOnChannel: the channel broke, join again", ref="6"),
        error_reply("unmatched topic", join_ref="null"),
    ]


def test_nothing_is_told_before_the_reply_to_a_join():
    talk = Talk()
    channel = talk.asks_to_join(TODOS)

    assert talk.session.subscribed(channel) == []
    assert talk.session.gap(channel, None) == []
    assert talk.session.system_error(channel, "away") == []


def test_a_channel_without_bindings_is_not_told_that_they_are_in_force():
    talk = Talk()

    assert talk.session.subscribed(talk.has_joined()) == []


def test_nothing_is_told_to_a_channel_that_was_replaced():
    talk = Talk()
    old = talk.has_joined(TODOS)
    talk.has_joined(TODOS, join_ref="8")

    assert talk.session.subscribed(old) == []
    assert talk.session.gap(old, None) == []
    assert talk.session.system_error(old, "away") == []
    assert talk.session.broken(old) == []


# The end


def test_the_end_of_the_connection_ends_all_channels_and_twice_is_safe():
    talk = Talk()
    joined, joining = talk.has_joined(), talk.asks_to_join(topic="realtime:other")
    talk.says("presence", topic="realtime:other")

    assert talk.session.close() == [Leave(joined), Leave(joining)]
    assert talk.session.close() == []


def test_after_the_end_everything_is_ignored():
    talk = Talk()
    joining = talk.asks_to_join()
    talk.session.close()

    assert talk.session.join_decided(joining, Outcome()) == []
    assert talk.says("heartbeat", topic="phoenix") == []
    assert talk.session.receive_binary(b"\x04") == []
    assert talk.session.malformed == 0


def test_clients_are_sent_away_such_that_they_come_back():
    talk = Talk()
    joined, joining = talk.has_joined(), talk.asks_to_join(topic="realtime:other")

    assert told(talk.session.disconnect()) == [
        (
            f'["6",null,"{TOPIC}","system",{{"extension":"system","status":"ok",'
            '"message":"Server requested disconnect","channel":"room:1"}]'
        ),
        Leave(joined),
        Leave(joining),
        Close(1012, "Server requested disconnect"),
    ]


def test_that_broadcasts_from_the_database_flow_is_told_to_a_joined_channel():
    talk = Talk()
    channel = talk.asks_to_join()
    assert talk.session.replication_ready(channel) == []
    talk.session.join_decided(channel, Outcome())
    (message,) = told(talk.session.replication_ready(channel))
    assert message == (
        '["6",null,"realtime:room:1","system",{"extension":"system","status":"ok",'
        '"message":"Replication connection established","channel":"room:1"}]'
    )
