"""Webhooks from the commit to the endpoint: what is posted, signed how, in which order, and how often."""

from __future__ import annotations

import json
import re
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fix_clients import Schema
from fix_webhooks import Hooks
from receiver import HANG, SECRET, Receiver, to

OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def test_a_transaction_is_one_post_with_its_matching_changes(hooks: Hooks, schema: Schema, receiver: Receiver):
    hooks.configure(to(receiver, schema, relation=f"{schema.name}:todos"))
    schema.execute("insert into todos values (1, 'milk'); insert into notes values (7); insert into todos values (2)")
    schema.execute("update todos set done = true where id = 1")
    schema.execute("delete from todos where id = 2")
    schema.execute("truncate todos")
    first, update, delete, truncate = receiver.wait_for(4)
    body = json.loads(first.body)
    assert list(body) == ["changes", "commit_timestamp"]
    assert [change["commit_timestamp"] for change in body["changes"]] == [body["commit_timestamp"]] * 2
    assert first.row_ids == [1, 2]
    (change,) = update.changes
    assert {**change, "commit_timestamp": "", "position": ""} == {
        "schema": schema.name,
        "table": "todos",
        "type": "UPDATE",
        "commit_timestamp": "",
        "columns": [
            {"flags": ["key"], "name": "id", "type": "int8", "type_modifier": 4294967295},
            {"flags": [], "name": "title", "type": "text", "type_modifier": 4294967295},
            {"flags": [], "name": "done", "type": "bool", "type_modifier": 4294967295},
        ],
        "record": {"id": 1, "title": "milk", "done": True},
        "old_record": {"id": 1},
        "errors": None,
        "position": "",
    }
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{16}-[0-9a-f]{8}", change["position"])
    assert delete.changes[0]["old_record"] == {"id": 2, "title": None, "done": None}
    assert truncate.changes[0]["type"] == "TRUNCATE"
    positions = [change["position"] for post in receiver.accepted for change in post.changes]
    assert positions == sorted(positions)


def test_headers_are_those_of_the_settings_and_of_the_standard(hooks: Hooks, schema: Schema, receiver: Receiver):
    hooks.configure(to(receiver, schema, "/path?token=x"))
    schema.execute("insert into todos values (1)")
    (post,) = receiver.wait_for(1)
    assert post.path == "/path?token=x"
    assert post.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert post.headers["content-type"] == "application/json"
    assert (post.headers["x-one"], post.headers["authorization"]) == ("1", "Bearer abc")
    assert post.headers["user-agent"].startswith("pgcast/")
    assert re.fullmatch(r"msg_[0-9a-f]{32}", post.id)
    assert abs(int(post.headers["webhook-timestamp"]) - time.time()) < 30
    assert Webhook(SECRET).verify(post.body, post.headers) == json.loads(post.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(post.body + b" ", post.headers)


def test_several_secrets_sign_side_by_side(hooks: Hooks, schema: Schema, receiver: Receiver):
    item = to(receiver, schema)
    item["config"]["secret"] = [OTHER_SECRET, SECRET]
    hooks.configure(item)
    schema.execute("insert into todos values (1)")
    (post,) = receiver.wait_for(1)
    for secret in (OTHER_SECRET, SECRET):
        Webhook(secret).verify(post.body, post.headers)
    assert post.headers["webhook-signature"].count("v1,") == 2


def test_a_filter_is_the_filter_of_bindings(hooks: Hooks, schema: Schema, receiver: Receiver):
    hooks.configure(
        to(receiver, schema, relation=f"{schema.name}:todos", event="INSERT", filter="id=gt.5,title=like.a%"),
        to(receiver, schema, relation=f"{schema.name}:todos", event="DELETE", filter="id=in.(1,9)"),
    )
    schema.execute("insert into todos values (1, 'a'), (6, 'a'), (7, 'b'), (9, 'ab')")
    schema.execute("update todos set done = true")
    schema.execute("delete from todos")
    inserts, deletes = receiver.wait_for(2)
    assert inserts.row_ids == [6, 9]
    assert deletes.row_ids == [1, 9]


def test_a_large_transaction_becomes_several_posts_in_order(hooks: Hooks, schema: Schema, receiver: Receiver):
    hooks.configure(to(receiver, schema))
    schema.execute("insert into todos select n, repeat('x', 100) from generate_series(1, 60) n")
    schema.execute("insert into todos values (61, repeat('y', 10000))")
    while (
        sum(len(post.changes) for post in receiver.wait_for(2))
        + sum(len(post.changes) for post in receiver.accepted[2:])
        < 61
    ):
        time.sleep(0.01)
    assert [number for post in receiver.accepted for number in post.row_ids] == list(range(1, 62))
    assert all(len(post.body) <= 4096 + 200 for post in receiver.accepted[:-1])
    assert len({post.id for post in receiver.accepted}) == len(receiver.accepted) > 5


def test_a_failure_is_retried_with_the_same_id_and_body_and_keeps_the_order(
    hooks: Hooks, schema: Schema, receiver: Receiver
):
    receiver.answer = lambda number, _post: (503, 302, HANG, 200)[number] if number < 4 else 204
    hooks.configure(to(receiver, schema, name="shaky"))
    schema.execute("insert into todos values (1)")
    schema.execute("insert into todos values (2)")
    first, second = receiver.wait_for(2)
    assert [post.row_ids for post in receiver.posts] == [[1], [1], [1], [1], [2]]
    assert {post.id for post in receiver.posts[:4]} == {first.id} != {second.id}
    assert {post.body for post in receiver.posts[:4]} == {first.body}
    hooks.wait_for_metric("pgcast_webhook_delivered_total", "shaky", 2)
    assert hooks.metric("pgcast_webhook_failed_total", "shaky") == 3
    assert hooks.metric("pgcast_webhook_retries_total", "shaky") == 3


def test_retry_after_is_honoured(hooks: Hooks, schema: Schema, receiver: Receiver):
    receiver.answer = lambda number, _post: (429, {"Retry-After": "2"}) if not number else 204
    hooks.configure(to(receiver, schema))
    schema.execute("insert into todos values (1)")
    receiver.wait_for(1)
    asked, later = receiver.posts
    assert 2.0 <= later.at_s - asked.at_s < 4.0


def test_an_endpoint_that_hangs_concerns_no_other(hooks: Hooks, schema: Schema, receiver: Receiver):
    with Receiver(lambda _number, _post: HANG) as hanging:
        hooks.configure(to(hanging, schema, name="hanging"), to(receiver, schema))
        begin = time.monotonic()
        for number in range(20):
            schema.execute(f"insert into todos values ({number})")
        receiver.wait_for(20)
        assert time.monotonic() - begin < 3
        hooks.wait_for_metric("pgcast_webhook_waiting", "hanging", 20)
        assert hooks.metric("pgcast_webhook_oldest_seconds", "hanging") > 0
        assert hooks.metric("pgcast_webhook_spool_bytes", "hanging") > 1000
        hooks.configure(to(receiver, schema))


def test_items_with_the_same_endpoint_are_one_endpoint(hooks: Hooks, schema: Schema, receiver: Receiver):
    hooks.configure(to(receiver, schema), to(receiver, schema, event="INSERT"))
    schema.execute("insert into todos values (1); insert into todos values (2)")
    schema.execute("insert into todos values (3)")
    assert [post.row_ids for post in receiver.wait_for(2)] == [[1, 2], [3]]
    time.sleep(0.1)
    assert len(receiver.posts) == 2


def test_an_endpoint_that_is_gone_gets_nothing_more_until_a_reload(hooks: Hooks, schema: Schema, receiver: Receiver):
    receiver.answer = lambda number, _post: 410 if not number else 204
    hooks.configure(to(receiver, schema, name="gone"))
    schema.execute("insert into todos values (1)")
    assert '"webhook": "gone"' in hooks.wait_for_log("an endpoint is gone")
    schema.execute("insert into todos values (2)")
    hooks.wait_for_metric("pgcast_webhook_dead_letters", "gone", 2)
    assert hooks.metric("pgcast_webhook_gone", "gone") == 1
    assert len(receiver.posts) == 1
    hooks.configure(to(receiver, schema, name="gone"))
    schema.execute("insert into todos values (3)")
    assert receiver.wait_for(1)[0].row_ids == [3]


def test_labels_hold_nothing_of_a_url_but_its_host(hooks: Hooks, schema: Schema, receiver: Receiver):
    url = f"http://me:hidden@127.0.0.1:{receiver.port}/secret-path?token=hidden"
    receiver.answer = lambda _number, _post: 500
    hooks.configure({"relation": schema.name, "config": {"endpoint": url}})
    schema.execute("insert into todos values (1)")
    (post,) = receiver.wait_for_posts(1)
    assert post.headers["authorization"] == "Basic bWU6aGlkZGVu", "what the URL says is about this endpoint"
    hooks.wait_for_log("a webhook cannot be delivered")
    assert "hidden" not in hooks.node.log()
    assert "secret-path" not in hooks.node.log()
    assert f"http://127.0.0.1:{receiver.port}#" in hooks.node.log()
