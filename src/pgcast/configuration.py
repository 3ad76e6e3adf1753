"""CONFIGURATION_FILE: read, and checked as a whole before anything of it counts.

The form is the original server's: a JSON object with the lists `webhooks` and `realtime`. Whatever is wrong is said in
one line that names the item (`webhooks[2].config.endpoint`) and what would be right. A secret is never part of it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from pgcast.model.change import Kind
from pgcast.model.configuration import Configuration
from pgcast.model.errors import SettingsError
from pgcast.model.served import ServedTopic, ServedTopics
from pgcast.model.webhook import KEY_HINT, Webhook, decode_secret

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 4 << 20
"""How large a file may be."""

MAX_WEBHOOKS: Final = 1000
"""How many webhooks it may have: each endpoint has a thread and a file."""

_MARK: Final = b"\xef\xbb\xbf"
"""What some editors begin a file of UTF-8 with (RFC 8259, section 8.1: it may be ignored)."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_EVENTS: Final = "INSERT, UPDATE, DELETE, TRUNCATE or *"
_WHERE: Final = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    endpoint: str
    secret: str | list[str] = ""


class _Webhook(msgspec.Struct, forbid_unknown_fields=True):
    config: _Config
    event: str = "*"
    relation: str = "*"
    filter: str | None = None
    name: str | None = None


class _Realtime(msgspec.Struct, forbid_unknown_fields=True):
    relation: str
    events: list[str] = msgspec.field(default_factory=lambda: ["*"])


class _File(msgspec.Struct, forbid_unknown_fields=True):
    webhooks: list[_Webhook] = []
    realtime: list[_Realtime] | None = None


def read_configuration(path: Path | None) -> Configuration:
    """Read the file; without one, nothing is configured and everything is served.

    Raises:
        SettingsError: It cannot be read, or something in it is wrong; the message names the item.
    """
    if path is None:
        return Configuration()
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _wrong(f"cannot read {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise _wrong(f"{path} is larger than {MAX_BYTES} bytes")
    return parse_configuration(content)


def parse_configuration(content: bytes) -> Configuration:
    """Read the content of the file.

    Raises:
        SettingsError: Something in it is wrong; the message names the item.
    """
    try:
        found = msgspec.json.decode(content.removeprefix(_MARK), type=_File)
    except msgspec.ValidationError as error:
        raise _wrong(_placed(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _wrong(f"not JSON: {_json_mistake(content)}") from None
    if len(found.webhooks) > MAX_WEBHOOKS:
        raise _wrong(f"webhooks: at most {MAX_WEBHOOKS}, found {len(found.webhooks)}")
    webhooks = tuple(_webhook(f"webhooks[{number}]", item) for number, item in enumerate(found.webhooks))
    if found.realtime is None:
        return Configuration(webhooks)
    items = tuple(_served(f"realtime[{number}]", item) for number, item in enumerate(found.realtime))
    return Configuration(webhooks, ServedTopics(items))


def _webhook(where: str, item: _Webhook) -> Webhook:
    names = item.relation.split(":") if item.relation else ["*"]
    if len(names) > 2 or not all(names):
        raise _wrong(f'{where}.relation: expected "*", "schema" or "schema:table", found {item.relation[:80]!r}')
    schema, table = (None if name == "*" else name for name in [*names, "*"][:2])
    if item.name is not None and not _NAME.fullmatch(item.name):
        raise _wrong(f"{where}.name: expected 1 to 64 of A-Z a-z 0-9 _ . - and found {item.name[:80]!r}")
    secret = item.config.secret
    secrets = tuple([secret] if isinstance(secret, str) and secret else secret)
    for number, one in enumerate(secrets):
        _check_secret(f"{where}.config.secret" + ("" if isinstance(secret, str) else f"[{number}]"), one)
    return Webhook(
        where,
        _kind(f"{where}.event", item.event),
        schema,
        table,
        item.filter or None,
        _checked_url(f"{where}.config.endpoint", item.config.endpoint),
        item.name,
        secrets,
    )


def _served(where: str, item: _Realtime) -> ServedTopic:
    parts = item.relation.split(":", 2)
    if not all(parts):
        raise _wrong(
            f'{where}.relation: expected "*", "schema", "schema:table" or "schema:table:column" (each part may be *), '
            f"found {item.relation[:80]!r}"
        )
    kinds = [_kind(f"{where}.events[{number}]", event) for number, event in enumerate(item.events)]
    all_kinds = frozenset(Kind)
    return ServedTopic(
        tuple(None if part == "*" else part for part in parts),
        all_kinds if None in kinds else frozenset(kind for kind in kinds if kind is not None),
    )


def _kind(where: str, event: str) -> Kind | None:
    if event == "*":
        return None
    try:
        return Kind(event)
    except ValueError:
        raise _wrong(f"{where}: expected {_EVENTS}, found {event[:80]!r}") from None


def _checked_url(where: str, url: str) -> str:
    """Check a URL, which may hold a password or a token: what it is does not go into a message."""
    right = "expected a URL such as https://hooks.example.com/orders"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong(f"{where}: {right}") from None
    if parts.scheme not in {"http", "https"}:
        found = f", found the scheme {parts.scheme[:20]!r}" if parts.scheme else ""
        raise _wrong(f"{where}: {right}{found}")
    if not parts.hostname or port == 0 or not url.isprintable() or " " in url:
        raise _wrong(f"{where}: {right}")
    return url


def _check_secret(where: str, secret: str) -> None:
    try:
        decode_secret(secret)
    except ValueError as error:
        raise SettingsError(f"CONFIGURATION_FILE: {where}: {error}", hint=KEY_HINT) from None


def _placed(text: str) -> str:
    """Turn msgspec's `what - at `$.where`` into `where: what`."""
    match = _WHERE.fullmatch(text)
    what, where = match.groups() if match else (text, "")
    if what.startswith("Object contains unknown field"):
        what += f"; known here: {', '.join(_known_at(where))}"
    return f"{where}: {what}" if where else what


def _known_at(where: str) -> tuple[str, ...]:
    if where.endswith(".config"):
        return _Config.__struct_fields__
    for begin, struct in (("webhooks", _Webhook), ("realtime", _Realtime)):
        if where.startswith(begin):
            return tuple(struct.__struct_fields__)
    return _File.__struct_fields__


def _json_mistake(content: bytes) -> str:
    try:
        json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    except UnicodeDecodeError:
        return "it has to be UTF-8"
    except RecursionError:
        return "it is nested too deeply"
    return "malformed"


def _wrong(text: str) -> SettingsError:
    return SettingsError(f"CONFIGURATION_FILE: {text}", hint="docs/reference/configuration-file.md describes the file")
