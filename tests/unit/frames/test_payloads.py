import json

import pytest

from pgcast.frames.message import BinaryPayload
from pgcast.frames.payloads import MAX_TIME_MS, JoinRequest, PresenceRequest, Replay, read_join, read_presence
from pgcast.model.errors import FrameError


def join_with(**config):
    return read_join(json.dumps({"config": config}).encode())


def test_a_join_of_the_newest_javascript_client_is_read():
    request = read_join(
        b'{"config":{"broadcast":{"ack":true,"replay":{"since":1700000000000,"limit":5}},'
        b'"presence":{"key":"","enabled":false},'
        b'"postgres_changes":[{"event":"UPDATE","schema":"public","table":"t","select":["id"]}],'
        b'"private":true,"postgres_changes_options":{"wait":true,"timeout":9000}},'
        b'"access_token":"<jwt>","version":"realtime-js/2.119.1"}'
    )

    assert (request.is_legacy, request.is_acked, request.wants_presence) == (False, True, False)
    assert (request.is_private, request.gets_own, request.presence_key) == (True, False, "")
    assert (request.replay, request.has_bad_replay) == (Replay(1700000000000, 5), False)
    assert (request.wants_wait, request.wait_ms) == (True, 9000)
    assert [bytes(entry) for entry in request.postgres_changes] == [
        b'{"event":"UPDATE","schema":"public","table":"t","select":["id"]}'
    ]


@pytest.mark.parametrize("payload", [b"{}", b'{"user_token":"<jwt>"}'])
def test_a_join_without_config_is_one_of_the_oldest_protocol(payload):
    assert read_join(payload) == JoinRequest(is_legacy=True, token="<jwt>" if b"jwt" in payload else None)


@pytest.mark.parametrize("config", [b"null", b"{}", b"[]", b'"x"', b'{"broadcast":null,"presence":null}'])
def test_a_config_that_says_nothing_is_all_defaults(config):
    assert read_join(b'{"config":%b}' % config) == JoinRequest()


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', b"5", BinaryPayload(b"{}")])
def test_a_payload_that_is_no_object_is_a_frame_error(payload):
    with pytest.raises(FrameError):
        read_join(payload)


@pytest.mark.parametrize("entries", [None, [], [None], {}, "x", 5])
def test_no_entries_are_what_is_null_empty_or_no_list(entries):
    assert join_with(postgres_changes=entries).postgres_changes == ()


def test_entries_that_are_null_are_dropped_and_the_others_keep_their_order():
    request = join_with(postgres_changes=[None, {"a": 1}, None, {"b": 2}])

    assert [json.loads(bytes(entry)) for entry in request.postgres_changes] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("value", "enabled"),
    [(True, True), ("TRUE", True), (False, False), ("false", False), (None, True), ("maybe", True), (0, True)],
)
def test_presence_is_wanted_unless_it_is_said_to_be_not(value, enabled):
    assert join_with(presence={"enabled": value}).wants_presence is enabled
    assert join_with(presence={"key": "k"}).wants_presence is True


@pytest.mark.parametrize(
    ("value", "acked"), [(True, True), ("True", True), ("FALSE", False), (1, False), (None, False)]
)
def test_broadcasts_are_acknowledged_only_on_demand(value, acked):
    assert join_with(broadcast={"ack": value}).is_acked is acked


@pytest.mark.parametrize(
    ("timeout", "wait_ms"),
    [
        (1, 1),
        (9000, 9000),
        (20_000, 20_000),
        (20_001, 20_000),
        (0, 15_000),
        (-5, 15_000),
        ("9000", 15_000),
        (None, 15_000),
    ],
)
def test_a_join_waits_15_seconds_if_it_says_nothing_and_never_more_than_20(timeout, wait_ms):
    assert join_with(postgres_changes_options={"wait": True, "timeout": timeout}).wait_ms == wait_ms
    assert join_with(postgres_changes_options={"wait": True}).wait_ms == 15_000


@pytest.mark.parametrize(
    ("key", "text"),
    [("ada", "ada"), ("", ""), (None, ""), (5, "5"), (1.50, "1.5"), (True, "true"), ([], ""), ({}, ""), ("é", "é")],
)
def test_a_presence_key_is_a_text_and_numbers_and_booleans_count_as_theirs(key, text):
    assert join_with(presence={"key": key}).presence_key == text


@pytest.mark.parametrize("options", [{"self": True}, {"self": "TRUE"}])
def test_own_broadcasts_come_back_if_that_is_said(options):
    assert join_with(broadcast=options).gets_own
    assert not join_with(broadcast={"self": 1}).gets_own


def test_a_private_channel_and_the_wish_to_be_told_of_replication_are_read():
    request = join_with(private="true", broadcast={"replication_ready": True})
    assert (request.is_private, request.wants_replication_ready) == (True, True)


@pytest.mark.parametrize(
    ("asked", "limit"), [({}, 25), ({"limit": None}, 25), ({"limit": 0}, 1), ({"limit": 26}, 25), ({"limit": -5}, 1)]
)
def test_the_limit_of_a_replay_is_kept_within_bounds(asked, limit):
    assert join_with(broadcast={"replay": {"since": 1, **asked}}).replay == Replay(1, limit)


@pytest.mark.parametrize(
    "replay", [5, True, [], "x", {}, {"since": None}, {"since": "1"}, {"since": 1.5}, {"since": 1, "limit": "x"}]
)
def test_a_replay_that_cannot_be_read_is_told_from_none(replay):
    request = join_with(broadcast={"replay": replay})
    assert (request.replay, request.has_bad_replay) == (None, True)


@pytest.mark.parametrize(("since", "since_ms"), [(-(10**20), 0), (10**400, MAX_TIME_MS), (MAX_TIME_MS, MAX_TIME_MS)])
def test_the_time_of_a_replay_is_one_that_postgres_knows(since, since_ms):
    assert join_with(broadcast={"replay": {"since": since}}).replay == Replay(since_ms, 25)


def test_a_replay_of_null_is_none():
    request = join_with(broadcast={"replay": None})
    assert (request.replay, request.has_bad_replay) == (None, False)


def test_a_track_is_read_with_its_members_in_the_order_of_their_names():
    request = read_presence(b'{"type":"presence","event":"Track","payload":{"name": "ada", "at":[1, 2],"phx_ref":"x"}}')
    assert request == PresenceRequest("track", b'"at":[1, 2],"name":"ada"', 42)


@pytest.mark.parametrize("payload", [b"{}", b'{"payload":null}', b'{"event":null,"payload":{}}', b'{"event":5}'])
def test_what_a_presence_message_does_not_say_is_empty(payload):
    request = read_presence(payload)
    assert (request.event, request.members) == ("", b"")


@pytest.mark.parametrize("told", [b"[]", b"5", b'"x"', b"true"])
def test_what_a_client_tells_of_itself_is_an_object(told):
    assert read_presence(b'{"event":"track","payload":%b}' % told).members is None


@pytest.mark.parametrize("payload", [b"null", b"[]", b'"x"', BinaryPayload(b"{}")])
def test_a_presence_payload_that_is_no_object_is_a_frame_error(payload):
    with pytest.raises(FrameError):
        read_presence(payload)
