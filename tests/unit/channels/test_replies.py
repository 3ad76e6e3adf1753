import json

from pgcast.channels import replies
from pgcast.channels.channel import Channel
from pgcast.frames.message import Message
from pgcast.frames.v1 import V1
from pgcast.frames.v2 import V2

TOPIC = "realtime:room:1"
CHANNEL = Channel(TOPIC, Message("6", "7", TOPIC, "phx_join"))


def v2(message):
    return V2().encode(message).decode()


def test_a_reply_repeats_both_refs_of_its_request():
    assert v2(replies.ok_reply(Message("6", "9", TOPIC, "phx_leave"))) == (
        '["6","9","realtime:room:1","phx_reply",{"status":"ok","response":{}}]'
    )


def test_an_error_reply_has_an_object_with_one_reason():
    assert v2(replies.error_reply(Message("6", "9", TOPIC, "presence"), 'no "way"')) == (
        '["6","9","realtime:room:1","phx_reply",{"status":"error","response":{"reason":"no \\"way\\""}}]'
    )


def test_a_reply_to_a_heartbeat_has_no_join_ref():
    assert v2(replies.heartbeat_reply(Message("6", "7", "phoenix", "heartbeat"))) == (
        '[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]'
    )


def test_a_reply_on_a_topic_that_is_not_joined_has_no_join_ref():
    assert v2(replies.unmatched_reply(Message("6", "9", TOPIC, "broadcast"))) == (
        '[null,"9","realtime:room:1","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]'
    )


def test_a_join_reply_always_has_the_key_postgres_changes():
    assert v2(replies.join_reply(CHANNEL)) == (
        '["6","7","realtime:room:1","phx_reply",{"status":"ok","response":{"postgres_changes":[]}}]'
    )


def test_a_join_reply_repeats_the_entries():
    joining = Channel(TOPIC, CHANNEL.request, echo=(b'{"schema":"public","id":101}', b'{"table":"t","id":102}'))

    assert v2(replies.join_reply(joining)) == (
        '["6","7","realtime:room:1","phx_reply",{"status":"ok","response":{"postgres_changes":'
        '[{"schema":"public","id":101},{"table":"t","id":102}]}}]'
    )


def test_a_presence_diff_has_no_refs():
    assert v2(replies.presence_diff(CHANNEL, b"{}")) == '[null,null,"realtime:room:1","presence_diff",{}]'


def test_a_presence_state_has_the_channels_join_ref():
    assert v2(replies.presence_state(CHANNEL, b"{}")) == '["6",null,"realtime:room:1","presence_state",{}]'


def test_a_system_message_has_four_keys_and_the_name_without_prefix():
    assert v2(replies.system(CHANNEL, "postgres_changes", "ok", "Subscribed to PostgreSQL")) == (
        '["6",null,"realtime:room:1","system",{"extension":"postgres_changes","status":"ok",'
        '"message":"Subscribed to PostgreSQL","channel":"room:1"}]'
    )


def test_a_system_message_to_an_older_client_has_a_ref_of_null():
    message = replies.system(CHANNEL, "postgres_changes", "ok", "Subscribed to PostgreSQL")

    assert V1().encode(message).decode() == (
        '{"topic":"realtime:room:1","event":"system","payload":{"extension":"postgres_changes","status":"ok",'
        '"message":"Subscribed to PostgreSQL","channel":"room:1"},"ref":null}'
    )


def test_a_gap_is_told_with_status_ok_and_the_oldest_position():
    join_ref, ref, topic, event, payload = json.loads(
        v2(replies.gap_detected(CHANNEL, "5f0c2a9e-000000000a000000-00000000"))
    )

    assert (join_ref, ref, topic, event) == ("6", None, TOPIC, "system")
    assert payload == {
        "extension": "system",
        "status": "ok",
        "channel": "room:1",
        "code": "GapDetected",
        "oldest": "5f0c2a9e-000000000a000000-00000000",
        "message": (
            "GapDetected: changes before 5f0c2a9e-000000000a000000-00000000 are no longer held; fetch the data again"
        ),
    }


def test_a_gap_after_which_nothing_is_held_names_no_position():
    payload = json.loads(v2(replies.gap_detected(CHANNEL, None)))[4]

    assert payload["oldest"] is None
    assert payload["message"] == "GapDetected: changes are no longer held; fetch the data again"


def test_a_close_and_an_error_carry_the_join_ref_in_both_places():
    assert v2(replies.closed(CHANNEL)) == '["6","6","realtime:room:1","phx_close",{}]'
    assert v2(replies.errored(CHANNEL)) == '["6","6","realtime:room:1","phx_error",{}]'
    assert V1().encode(replies.closed(CHANNEL)).decode() == (
        '{"topic":"realtime:room:1","event":"phx_close","payload":{},"ref":"6"}'
    )
