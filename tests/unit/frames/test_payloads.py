import json

import pytest

from pgcast.frames.message import BinaryPayload
from pgcast.frames.payloads import JoinRequest, read_join
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
    assert (request.wants_wait, request.wait_ms) == (True, 9000)
    assert [bytes(entry) for entry in request.postgres_changes] == [
        b'{"event":"UPDATE","schema":"public","table":"t","select":["id"]}'
    ]


@pytest.mark.parametrize("payload", [b"{}", b'{"user_token":"<jwt>"}'])
def test_a_join_without_config_is_one_of_the_oldest_protocol(payload):
    assert read_join(payload) == JoinRequest(is_legacy=True)


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
