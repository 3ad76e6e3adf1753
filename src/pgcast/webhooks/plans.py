"""The configuration's webhooks, checked against the catalog, as one plan for each endpoint.

Items that name the same endpoint share its spool and its order: one delivery per transaction, of all that any of them
wants.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from pgcast.engine.bindings import has_table
from pgcast.engine.joins import ALL_KINDS, entries_of
from pgcast.logs import get_logger
from pgcast.matching.index import Entry
from pgcast.model.binding import Binding
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError, SettingsError
from pgcast.model.webhook import decode_secret
from pgcast.webhooks.addresses import ascii_host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pgcast.engine.ports import Catalog
    from pgcast.model.webhook import Webhook
    from pgcast.webhooks.addresses import AddressRules

log = get_logger(__name__)

_WHY: Final = ". Exception: "


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """What the settings say of all webhooks.

    Attributes:
        folder: Where the spools are.
        headers: Sent with each delivery.
        secrets: What signs the deliveries of endpoints that have no secret of their own.
        rules: Which addresses may be posted to.
        timeout_s: How long one attempt may take.
        deadline_s: How long a delivery is tried.
        spool_bytes: How much one spool may hold; also how much WAL a spool that cannot be written may hold back.
        body_bytes: How long a body may be.
        as_text: Whether values go out as Postgres' text.
    """

    folder: Path
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    rules: AddressRules = field(kw_only=True)
    timeout_s: float = 15.0
    deadline_s: float = 86_400.0
    spool_bytes: int = 1 << 30
    body_bytes: int = 256 << 10
    as_text: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One endpoint, and what it gets.

    Attributes:
        key: Names its spool; the same for as long as its name, or, without one, its URL is.
        label: What it is called in metrics, logs and commands: never a secret, and unlike any other.
        url: Where deliveries go.
        keys: What they are signed with; empty: they are not signed.
        entries: What it wants.
    """

    key: str
    label: str
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)
    entries: tuple[Entry, ...]


async def plans_of(webhooks: Sequence[Webhook], catalog: Catalog, options: WebhookOptions) -> list[Plan]:
    """Check the items, and gather them by endpoint, in the order of the file.

    Raises:
        SettingsError: An item cannot be served; the message names it.
        DatabaseError: The database could not be asked.
    """
    by_key: dict[str, list[Webhook]] = {}
    for webhook in webhooks:
        same = by_key.setdefault(endpoint_key(webhook), [])
        same.append(webhook)
        if same[0].endpoint != webhook.endpoint:
            raise _wrong(webhook, "name", f"{webhook.name!r} is also the name of {same[0].item}, with another endpoint")
        _check_address(webhook, options.rules)
    return [
        Plan(
            key,
            label_of(items[0], key),
            items[0].endpoint,
            tuple(map(decode_secret, _secrets(items) or options.secrets)),
            tuple([await _entry(number, item, catalog) for number, item in enumerate(items, 1)]),
        )
        for key, items in by_key.items()
    ]


def endpoint_key(webhook: Webhook) -> str:
    """Return what tells endpoints apart: 16 hexadecimal digits, made of the name, or the URL where there is none."""
    text = f"url {webhook.endpoint}" if webhook.name is None else f"name {webhook.name}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def label_of(webhook: Webhook, key: str) -> str:
    """Return the name, or the host and a few digits: paths and queries of many services' URLs are secrets."""
    if webhook.name is not None:
        return webhook.name
    url = httpx.URL(webhook.endpoint)
    return f"{url.scheme}://{url.netloc.decode('ascii')}#{key[:6]}"


def _secrets(items: Sequence[Webhook]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(secret for item in items for secret in item.secrets))


def _check_address(webhook: Webhook, rules: AddressRules) -> None:
    try:
        rules.check_host(ascii_host(httpx.URL(webhook.endpoint)))
    except (httpx.InvalidURL, UnicodeError):  # the latter comes from names that IDNA cannot read
        raise _wrong(webhook, "config.endpoint", "expected a URL such as https://hooks.example.com/orders") from None
    except httpcore.ConnectError as error:
        raise _wrong(webhook, "config.endpoint", str(error)) from None


async def _entry(number: int, webhook: Webhook, catalog: Catalog) -> Entry:
    schema, table = webhook.schema, webhook.table
    if webhook.filter is None:
        if table is not None and not has_table(await catalog.published_tables(), schema, table):
            log.warning("a webhook's table is not published (yet)", item=webhook.item, relation=f"{schema}:{table}")
        return Entry(number, ALL_KINDS if webhook.kind is None else frozenset({webhook.kind}), schema, table)
    if webhook.kind is Kind.TRUNCATE:
        raise _wrong(webhook, "filter", "a TRUNCATE has no row that a filter could match")
    if not has_table(await catalog.published_tables(is_fresh=True), schema, table):
        raise _wrong(
            webhook, "filter", f"no published table matches {schema or '*'}:{table or '*'}: it cannot be checked"
        )
    try:
        (entry,) = await entries_of([Binding(number, webhook.kind, schema, table, webhook.filter)], catalog)
    except BindingError as error:
        raise _wrong(webhook, "filter", error.message.rpartition(_WHY)[2]) from None
    if entry.asks:
        raise _wrong(
            webhook,
            "filter",
            "only Postgres itself can make this comparison, and a webhook's filter cannot ask it",
        )
    return entry


def _wrong(webhook: Webhook, key: str, text: str) -> SettingsError:
    return SettingsError(
        f"CONFIGURATION_FILE: {webhook.item}.{key}: {text}",
        hint="docs/reference/configuration-file.md describes the file",
    )
