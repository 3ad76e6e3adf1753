"""What CONFIGURATION_FILE says of one webhook: which changes, where they go, and how they are signed."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgcast.model.change import Kind

_PREFIX: Final = "whsec_"
# RFC 9110, sections 5.1 and 5.5.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")
_OUR_HEADERS: Final = frozenset({"content-length", "content-type", "host", "transfer-encoding", "connection"})
_SECRET_BYTES: Final = range(24, 65)

KEY_HINT: Final = 'make one with: echo "whsec_$(openssl rand -base64 32)"'


@dataclass(frozen=True, slots=True)
class Webhook:
    """One item of the list `webhooks`, its form checked but nothing looked up.

    Attributes:
        item: Where it stands in the file, for messages: `webhooks[2]`.
        kind: The kind of change; None for all, TRUNCATE too.
        schema: A schema's exact name; None for all.
        table: A table's exact name; None for all.
        filter: As it was written; None where there is none.
        endpoint: The URL that is posted to.
        name: What the endpoint is called in metrics, logs and commands; None where the file gives no name.
        secrets: What deliveries are signed with, `whsec_...`; empty where the file gives none.
    """

    item: str
    kind: Kind | None
    schema: str | None
    table: str | None
    filter: str | None
    endpoint: str = field(repr=False)
    name: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


def decode_secret(text: str) -> bytes:
    """Return the key that a signing secret stands for.

    Source: the Standard Webhooks specification, "Signature scheme".

    Raises:
        ValueError: It is no such secret; the message does not hold it.
    """
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or len(key) not in _SECRET_BYTES:
        raise ValueError("expected whsec_ and the base64 of 24 to 64 bytes")
    return key


def parse_headers(text: str) -> dict[str, str]:
    """Read WEBHOOK_HEADERS: `k=v:k2=v2`, or a JSON object, in which values may have colons.

    Raises:
        ValueError: It is neither; the message holds no value.
    """
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            raise ValueError("expected name=value:name=value or a JSON object, and this is no JSON") from None
        pairs = list(found.items())
    else:
        parts = text.split(":")
        if not all("=" in part for part in parts):
            raise ValueError("expected name=value:name=value, or a JSON object where a value has a colon")
        pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in parts)]
    for name, value in pairs:
        if not _HEADER.fullmatch(name):
            raise ValueError("expected name=value:name=value, and one of the names is no header's")
        if not isinstance(value, str) or not value or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} is missing or cannot stand in a header")
        if name.lower() in _OUR_HEADERS or name.lower().startswith("webhook-"):
            raise ValueError(f"{name} is set by pgcast itself")
    return dict(pairs)
