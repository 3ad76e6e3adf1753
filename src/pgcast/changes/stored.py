"""From what the database has for the members of a topic to one message.

It is a row of `realtime.messages`, or what a program wrote with `pg_logical_emit_message`.

Source: the realtime protocol, broadcasts from the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.model.errors import WireError
from pgcast.model.messages import DatabaseMessage

if TYPE_CHECKING:
    from pgcast.model.change import Change


def read_row(change: Change) -> DatabaseMessage | None:
    """Read an inserted row of `realtime.messages`.

    Returns:
        The message; None if the row says that whoever stored it has delivered it already.

    Raises:
        WireError: It is none that could be delivered; the message says why.
    """
    row = {
        column.name: value if isinstance(value, bytes) else None
        for column, value in zip(change.table.relation.columns, change.values or (), strict=True)
    }
    if row.get("skip_broadcast") == b"t":
        return None
    topic, event = row.get("topic"), row.get("event")
    payload, raw = row.get("payload"), row.get("binary_payload")
    identity = row.get("id")
    if topic is None or event is None:
        raise WireError(f"the row has no {'topic' if topic is None else 'event'}")
    if payload is None and raw is None:
        raise WireError("the row has neither payload nor binary_payload")
    return DatabaseMessage(
        topic=_text(topic, "topic"),
        is_private=row.get("private") == b"t",
        event=_text(event, "event"),
        payload=payload if payload is None else _text(payload, "payload").encode(),
        raw=None if payload is not None or raw is None else _bytes(raw),
        id=None if identity is None else _text(identity, "id"),
    )


class _Content(msgspec.Struct):
    topic: str
    event: str
    payload: msgspec.Raw
    private: bool | None = True
    id: str | None = None


_CONTENT: Final = msgspec.json.Decoder(_Content)


def read_content(content: bytes) -> DatabaseMessage:
    """Read the content of a message that is stored nowhere: a JSON object with topic, event, payload, private and id.

    Raises:
        WireError: It is none that could be delivered; the message says why.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise WireError("the content is not UTF-8") from None
    try:
        found = _CONTENT.decode(text)
    except msgspec.ValidationError as error:
        raise WireError(f"the content is no message: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise WireError("the content is not JSON, or nested too deeply") from None
    return DatabaseMessage(
        topic=found.topic,
        is_private=found.private is not False,
        event=found.event,
        payload=bytes(found.payload),
        raw=None,
        id=found.id,
    )


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise WireError(f"the {name} is not UTF-8") from None


def _bytes(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix(rb"\x").decode("ascii"))
    except ValueError:
        raise WireError("the binary_payload is not in hexadecimal form") from None
