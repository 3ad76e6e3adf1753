from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from making import INT8, TEXT
from memory_source import MemoryCatalog

from pgcast.engine.joins import ALL_KINDS
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind
from pgcast.model.errors import ConnectionFailed, SettingsError
from pgcast.model.webhook import Webhook, decode_secret
from pgcast.webhooks.addresses import AddressRules, parse_rules
from pgcast.webhooks.plans import Plan, WebhookOptions, plans_of

SECRETS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
URL = "https://me:hidden@hooks.example:8443/hidden?token=hidden"


def webhook(number: int = 0, **more: Any) -> Webhook:
    given = {"kind": None, "schema": None, "table": None, "filter": None, "endpoint": URL, **more}
    return Webhook(f"webhooks[{number}]", **given)


async def plan(*webhooks: Webhook, catalog: MemoryCatalog | None = None, **options: Any) -> list[Plan]:
    given = {"rules": AddressRules(), **options}
    return await plans_of(webhooks, catalog or MemoryCatalog(), WebhookOptions(Path("/nowhere"), **given))


async def refused(*webhooks: Webhook, **options: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        await plan(*webhooks, **options)
    assert "hidden" not in caught.value.message
    return caught.value.message.removeprefix("CONFIGURATION_FILE: ")


async def test_without_a_filter_everything_counts_also_truncate():
    (made,) = await plan(webhook())
    assert made.entries == (Entry(1, ALL_KINDS),)
    (made,) = await plan(webhook(kind=Kind.TRUNCATE, schema="public", table="todos"))
    assert made.entries == (Entry(1, frozenset({Kind.TRUNCATE}), "public", "todos"),)


async def test_a_filter_is_checked_and_concerns_rows():
    (made,) = await plan(webhook(filter="id=eq.7", schema="public", table="todos"))
    (entry,) = made.entries
    assert entry.kinds == ROW_KINDS
    (condition,) = entry.conditions
    assert condition.canonical == ((INT8.oid, (b"7",)),)  # type: ignore[union-attr]


async def test_items_of_one_endpoint_share_a_plan_and_their_secrets():
    one, other = await plan(
        webhook(0, secrets=SECRETS[:1]),
        webhook(1, endpoint="https://other.example/"),
        webhook(2, kind=Kind.DELETE, secrets=SECRETS),
        secrets=(SECRETS[1],),
    )
    assert [entry.id for entry in one.entries] == [1, 2]
    assert one.keys == tuple(map(decode_secret, SECRETS))
    assert other.keys == (decode_secret(SECRETS[1]),), "the setting's, where the item has none"


async def test_a_label_shows_no_more_than_a_host_and_differs():
    first, second, named = await plan(
        webhook(0), webhook(1, endpoint=URL + "2"), webhook(2, endpoint=URL + "2", name="mine")
    )
    assert first.label == f"https://hooks.example:8443#{first.key[:6]}"
    assert len({first.label, second.label, named.label}) == 3
    assert named.label == "mine"
    assert "hidden" not in repr([first, second, named])


async def test_a_name_keeps_its_spool_when_the_url_changes():
    (before,) = await plan(webhook(name="mine"))
    (after,) = await plan(webhook(name="mine", endpoint="https://new.example/"))
    assert before.key == after.key
    assert await refused(webhook(0, name="mine"), webhook(1, name="mine", endpoint="https://new.example/")) == (
        "webhooks[1].name: 'mine' is also the name of webhooks[0], with another endpoint"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"filter": "id=eq.1", "kind": Kind.TRUNCATE}, "filter: a TRUNCATE has no row that a filter could match"),
        (
            {"filter": "id=eq.1", "schema": "public", "table": "nothing"},
            "filter: no published table matches public:nothing: it cannot be checked",
        ),
        ({"filter": "id"}, "filter: "),
        ({"filter": "colour=eq.red"}, "filter: invalid column for filter colour"),
        (
            {"endpoint": "http://10.1.2.3/hidden"},
            "config.endpoint: 10.1.2.3 is no public address; allow it with PGCAST_WEBHOOK_ALLOW=10.1.2.3",
        ),
        (
            {"endpoint": "http://xn--/hidden"},
            "config.endpoint: expected a URL such as https://hooks.example.com/orders",
        ),
        ({"endpoint": "http://LOCALHOST/hidden"}, "config.endpoint: localhost leads to 127.0.0.1, which is no public "),
    ],
)
async def test_what_cannot_be_served_is_named(more: dict[str, Any], message: str):
    assert (await refused(webhook(3, **more))).startswith(f"webhooks[3].{message}")


async def test_a_comparison_that_only_postgres_can_make_is_refused():
    class Deciding(MemoryCatalog):
        async def decide(self, _question: object, values: list[object]) -> list[bool]:
            return [False for _ in values]

    assert await refused(webhook(filter="title=imatch.a+"), catalog=Deciding()) == (
        "webhooks[0].filter: only Postgres itself can make this comparison, and a webhook's filter cannot ask it"
    )
    assert TEXT.name == "text"


async def test_an_inner_address_that_is_allowed_is_taken():
    (made,) = await plan(webhook(endpoint="http://127.0.0.1:9/x"), rules=parse_rules(["127.0.0.0/8"]))
    assert made.label.startswith("http://127.0.0.1:9#")


async def test_a_database_that_cannot_be_asked_is_no_mistake_in_the_file():
    catalog = MemoryCatalog()
    catalog.failure = ConnectionFailed("gone")
    with pytest.raises(ConnectionFailed):
        await plan(webhook(filter="id=eq.1"), catalog=catalog)
