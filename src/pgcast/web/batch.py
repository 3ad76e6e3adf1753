"""The body of a batch of broadcasts to its messages, or to what is wrong with each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from pgcast.frames.reading import NULL, as_text, read, read_or
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Mapping

Errors: TypeAlias = "dict[str, list[str]]"

MAX_MESSAGES: Final = 10_000
"""Of one batch: to read more, and to tell what is wrong with each, would keep all others waiting."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_TEXT: Final = msgspec.json.Decoder(str | None)
_BOOLEAN: Final = msgspec.json.Decoder(bool | str | None)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)

WORDS: Final = {"true": True, "1": True, "false": False, "0": False, "": False}
"""What a text says about whether a message is private, in lower case; anything else is an error."""

_BLANK: Final = "can't be blank"
_INVALID: Final = "is invalid"
_TOO_MANY: Final = f"should have at most {MAX_MESSAGES} item(s)"
_OTHER: Final = "\0"


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a batch.

    Attributes:
        topic: Without `realtime:`.
        event: What the application calls the event.
        payload: The text of a JSON object.
        is_private: Whether it goes to the private room of the topic.
        id: What receivers find in `meta`; None without one.
    """

    topic: str
    event: str
    payload: bytes
    is_private: bool
    id: str | None


def invalid(name: str) -> Errors:
    """Return the error of a value that cannot be read."""
    return {name: [_INVALID]}


def blank(*names: str) -> Errors:
    """Return the errors of values that are missing."""
    return {name: [_BLANK] for name in names}


def read_batch(body: bytes, max_payload_bytes: int) -> list[Entry] | dict[str, object]:
    """Read `{"messages": [...]}`.

    Args:
        body: JSON text.
        max_payload_bytes: What one payload may take; 0 for no limit.

    Returns:
        The messages, at least one; or, if any of them is wrong, the body of the refusal.
    """
    try:
        batch = read(_OBJECT, as_text(body))
    except FrameError as error:
        wrong = error.message.removeprefix("a message ")
        return {"message": f"The body {wrong.removeprefix('that ') if wrong.startswith('that ') else f'is {wrong}'}"}
    messages = batch.get("messages", msgspec.Raw(NULL))
    found = read_or(_LIST, messages, [])
    if not found:
        is_blank = bytes(messages) == NULL or bytes(messages).startswith(b"[")
        return {"errors": {"messages": [_BLANK if is_blank else _INVALID]}}
    if len(found) > MAX_MESSAGES:
        return {"errors": {"messages": [_TOO_MANY]}}
    checked = [_entry(read_or(_FIELDS, raw, None), max_payload_bytes) for raw in found]
    entries = [entry for entry in checked if isinstance(entry, Entry)]
    if len(entries) < len(checked):
        return {"errors": {"messages": [{} if isinstance(entry, Entry) else entry for entry in checked]}}
    return entries


def _entry(fields: Mapping[str, msgspec.Raw] | None, max_payload_bytes: int) -> Entry | Errors:
    if fields is None:
        return {"message": [_INVALID]}
    errors: Errors = {}
    payload = bytes(fields.get("payload", NULL))
    if payload == NULL:
        errors["payload"] = [_BLANK]
    elif not payload.startswith(b"{"):
        errors["payload"] = [_INVALID]
    elif 0 < max_payload_bytes < len(payload):
        errors["payload"] = ["Payload size exceeds tenant limit"]
    topic = _required_text("topic", fields, errors)
    event = _required_text("event", fields, errors)
    is_private = read_or(_BOOLEAN, fields.get("private", msgspec.Raw(NULL)), _OTHER)
    if isinstance(is_private, str):
        is_private = WORDS.get(is_private.lower(), _OTHER)
    if is_private == _OTHER:
        errors["private"] = [_INVALID]
    id_ = read_or(_TEXT, fields.get("id", msgspec.Raw(NULL)), _OTHER)
    if id_ is not None and not _UUID.fullmatch(id_.lower()):
        errors["id"] = [_INVALID]
    if errors:
        return errors
    return Entry(topic, event, payload, is_private is True, id_.lower() if id_ is not None else None)


def _required_text(name: str, fields: Mapping[str, msgspec.Raw], errors: Errors) -> str:
    text = read_or(_TEXT, fields.get(name, msgspec.Raw(NULL)), _OTHER)
    if text == _OTHER:
        errors[name] = [_INVALID]
    elif text is None or not text.strip():
        errors[name] = [_BLANK]
    return text or ""
