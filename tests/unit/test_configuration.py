from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgcast.configuration import MAX_BYTES, parse_configuration, read_configuration
from pgcast.model.change import Kind
from pgcast.model.configuration import Configuration
from pgcast.model.errors import SettingsError
from pgcast.model.served import ServedTopic, ServedTopics
from pgcast.model.webhook import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://hooks.example/path?token=hidden"


def parse(**content: Any) -> Configuration:
    return parse_configuration(json.dumps(content).encode())


def wrong(content: bytes | dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_configuration(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert "hidden" not in caught.value.message
    return caught.value.message.removeprefix("CONFIGURATION_FILE: ")


def webhook(**item: Any) -> dict[str, Any]:
    return {"webhooks": [{"config": {"endpoint": "http://first.example"}}, {"config": {"endpoint": URL}, **item}]}


def test_without_a_file_nothing_is_configured_and_everything_served():
    assert read_configuration(None) == Configuration() == parse_configuration(b"{}")


def test_a_webhook_has_the_defaults_of_the_original():
    assert parse(webhooks=[{"config": {"endpoint": URL}}]).webhooks == (
        Webhook("webhooks[0]", None, None, None, None, URL),
    )


def test_a_webhook_says_all_it_can():
    item = {
        "event": "UPDATE",
        "relation": "public:todos",
        "filter": "id=gt.1",
        "name": "todos-1.x",
        "config": {"endpoint": URL, "secret": [SECRET]},
    }
    assert parse(webhooks=[item]).webhooks == (
        Webhook("webhooks[0]", Kind.UPDATE, "public", "todos", "id=gt.1", URL, "todos-1.x", (SECRET,)),
    )


@pytest.mark.parametrize(
    ("relation", "names"),
    [
        ("*", (None, None)),
        ("", (None, None)),
        ("public", ("public", None)),
        ("public:*", ("public", None)),
        ("*:todos", (None, "todos")),
        ("a b:c d", ("a b", "c d")),
    ],
)
def test_a_relation_is_a_schema_and_a_table(relation: str, names: tuple[str | None, str | None]):
    (found,) = parse(webhooks=[{"relation": relation, "config": {"endpoint": URL}}]).webhooks
    assert (found.schema, found.table) == names


def test_topics_of_the_oldest_protocol_are_served_as_the_list_says():
    found = parse(
        realtime=[{"relation": "*"}, {"relation": "public:*:id", "events": ["INSERT", "TRUNCATE"]}, {"relation": "a:b"}]
    )
    assert found.served == ServedTopics(
        (
            ServedTopic((None,), frozenset(Kind)),
            ServedTopic(("public", None, "id"), frozenset({Kind.INSERT, Kind.TRUNCATE})),
            ServedTopic(("a", "b"), frozenset(Kind)),
        )
    )
    assert parse(realtime=[]).served == ServedTopics(())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON: Expecting value (line 1, column 1)"),
        (b'{"webhooks": [],}', "not JSON: Expecting property name enclosed in double quotes (line 1, column 17)"),
        (b"\xff", "not JSON: it has to be UTF-8"),
        ("{}".encode("utf-16"), "not JSON: it has to be UTF-8"),
        (b'{"webhooks": NaN, "x": ' + b"[" * 100_000, "not JSON: it is nested too deeply"),
        (b"[" * 100_000, "Expected `object`, got `array`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"webhook": []}', "Object contains unknown field `webhook`; known here: webhooks, realtime"),
        ({"webhooks": {}}, "webhooks: Expected `array`, got `object`"),
        ({"webhooks": [{}]}, "webhooks[0]: Object missing required field `config`"),
        ({"webhooks": [{"config": {}}]}, "webhooks[0].config: Object missing required field `endpoint`"),
        (webhook(config={"endpoint": 5}), "webhooks[1].config.endpoint: Expected `str`, got `int`"),
        (
            webhook(config={"endpoint": URL, "x": 1}),
            "webhooks[1].config: Object contains unknown field `x`; known here: endpoint, secret",
        ),
        (
            webhook(events="*"),
            "webhooks[1]: Object contains unknown field `events`; known here: config, event, relation, filter, name",
        ),
        (webhook(event="insert"), "webhooks[1].event: expected INSERT, UPDATE, DELETE, TRUNCATE or *, found 'insert'"),
        (
            webhook(relation="a:b:c"),
            'webhooks[1].relation: expected "*", "schema" or "schema:table", found \'a:b:c\'',
        ),
        (webhook(relation="a:"), 'webhooks[1].relation: expected "*", "schema" or "schema:table", found \'a:\''),
        (webhook(name="a b"), "webhooks[1].name: expected 1 to 64 of A-Z a-z 0-9 _ . - and found 'a b'"),
        (
            webhook(config={"endpoint": "ftp://hidden/"}),
            (
                "webhooks[1].config.endpoint: expected a URL such as https://hooks.example.com/orders, found the "
                "scheme 'ftp'"
            ),
        ),
        *(
            (
                webhook(config={"endpoint": url}),
                "webhooks[1].config.endpoint: expected a URL such as https://hooks.example.com/orders",
            )
            for url in ("", "hooks.example/hidden", "http://", "http://h:x/hidden", "http://h/hid den", "http://[h/")
        ),
        (
            webhook(config={"endpoint": URL, "secret": "hidden"}),
            "webhooks[1].config.secret: expected whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            webhook(config={"endpoint": URL, "secret": [SECRET, "hidden"]}),
            "webhooks[1].config.secret[1]: expected whsec_ and the base64 of 24 to 64 bytes",
        ),
        ({"realtime": [{}]}, "realtime[0]: Object missing required field `relation`"),
        (
            {"realtime": [{"relation": "a", "x": 1}]},
            "realtime[0]: Object contains unknown field `x`; known here: relation, events",
        ),
        (
            {"realtime": [{"relation": "a::b"}]},
            (
                'realtime[0].relation: expected "*", "schema", "schema:table" or "schema:table:column" (each part may '
                "be *), found 'a::b'"
            ),
        ),
        (
            {"realtime": [{"relation": "a", "events": ["DROP"]}]},
            "realtime[0].events[0]: expected INSERT, UPDATE, DELETE, TRUNCATE or *, found 'DROP'",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_would_be_right(content: bytes | dict[str, Any], message: str):
    assert wrong(content) == message


def test_a_mark_that_editors_leave_is_no_mistake():
    assert parse_configuration(b"\xef\xbb\xbf{}") == parse_configuration(b"{}")


def test_a_file_that_is_missing_or_too_large_is_named(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"CONFIGURATION_FILE: cannot read .*nothing: No such file or directory"):
        read_configuration(tmp_path / "nothing")
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(SettingsError, match="is larger than"):
        read_configuration(large)
    large.write_bytes(b'{"realtime": []}')
    assert read_configuration(large) == Configuration((), ServedTopics(()))
