"""The payload of a `phx_join` to a checked request.

A value of the wrong type never fails a join: it counts as absent. Only a payload that is no object at all does. The
entries of `postgres_changes` stay unread here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.frames.reading import NULL, read_object, read_or
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from pgcast.frames.message import Payload

DEFAULT_WAIT_MS: Final = 15_000
MAX_WAIT_MS: Final = 20_000

_BOOLEAN: Final = msgspec.json.Decoder(bool | str)
_INTEGER: Final = msgspec.json.Decoder(int)
_ENTRIES: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_WORDS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a client asks for when it joins.

    Attributes:
        is_legacy: There is no `config`: the oldest protocol, in which the topic itself is the binding.
        is_acked: Each broadcast is to be replied to.
        wants_presence: Presence messages are wanted. Clients that do not say so either way expect them.
        wants_wait: The reply is to be held until the bindings are in force, and an error in them refuses the join.
        wait_ms: For how long at most.
        postgres_changes: The entries as sent, each the text of any JSON value but null.
    """

    is_legacy: bool = False
    is_acked: bool = False
    wants_presence: bool = True
    wants_wait: bool = False
    wait_ms: int = DEFAULT_WAIT_MS
    postgres_changes: tuple[msgspec.Raw, ...] = ()


def read_join(payload: Payload) -> JoinRequest:
    """Read the payload of a `phx_join`.

    Raises:
        FrameError: The payload is no JSON object.
    """
    join = read_object(payload)
    if "config" not in join:
        return JoinRequest(is_legacy=True)
    config = _object(join["config"])
    options = _object(config.get("postgres_changes_options"))
    wait_ms = read_or(_INTEGER, options.get("timeout"), 0)
    return JoinRequest(
        is_acked=_boolean(_object(config.get("broadcast")).get("ack"), default=False),
        wants_presence=_boolean(_object(config.get("presence")).get("enabled"), default=True),
        wants_wait=_boolean(options.get("wait"), default=False),
        wait_ms=min(wait_ms, MAX_WAIT_MS) if wait_ms > 0 else DEFAULT_WAIT_MS,
        postgres_changes=tuple(
            entry for entry in read_or(_ENTRIES, config.get("postgres_changes"), ()) if bytes(entry) != NULL
        ),
    )


def _object(value: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    """Return the members of an object, none for anything else: `null` and absent mean the same to clients."""
    if value is None:
        return {}
    try:
        return read_object(value)
    except FrameError:
        return {}


def _boolean(value: msgspec.Raw | None, *, default: bool) -> bool:
    """Read a boolean, also from a text in any case: `"true"`, `"FALSE"`."""
    found = read_or(_BOOLEAN, value, default)
    return _WORDS.get(found.lower(), default) if isinstance(found, str) else found
