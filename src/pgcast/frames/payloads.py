"""The payloads of `phx_join` and `presence` to checked requests.

A value of the wrong type never fails a join: it counts as absent. Only a payload that is no object at all does. The
entries of `postgres_changes` stay unread here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.frames.reading import NULL, read_object, read_or, write
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from pgcast.frames.message import Payload

DEFAULT_WAIT_MS: Final = 15_000
MAX_WAIT_MS: Final = 20_000
MAX_REPLAY: Final = 25
MAX_TIME_MS: Final = 8_640_000_000_000_000  # the last one that JavaScript has a date for; Postgres knows later ones

OPAQUE: Final = "sb_"
"""How keys begin that are no tokens: in place of a token they mean the connection's."""

_STRING: Final = msgspec.json.Decoder(str | None)
_BOOLEAN: Final = msgspec.json.Decoder(bool | str)
_TEXT: Final = msgspec.json.Decoder(str | bool | int | float | None)
_INTEGER: Final = msgspec.json.Decoder(int)
_OPTIONAL_INTEGER: Final = msgspec.json.Decoder(int | None)
_ENTRIES: Final = msgspec.json.Decoder(tuple[msgspec.Raw, ...])
_OPTIONAL_TEXT: Final = msgspec.json.Decoder(str | None)
_OURS: Final = frozenset({"phx_ref", "phx_ref_prev"})
_WORDS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Replay:
    """Which of the stored broadcasts a client wants when it joins.

    Attributes:
        since_ms: Not older than this, milliseconds since 1970-01-01 UTC.
        limit: At most so many, the newest.
    """

    since_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a client asks for when it joins.

    Attributes:
        is_legacy: There is no `config`: the oldest protocol, in which the topic itself is the binding.
        token: The channel's own token; None where it has none.
        is_private: Broadcast and presence only between those whom the database's policies allow it.
        is_acked: Each broadcast is to be replied to.
        gets_own: Its own broadcasts come back to it.
        replay: Which of the stored broadcasts it wants; None for none.
        has_bad_replay: It asks for some in a way that cannot be read.
        wants_replication_ready: It wants to be told once broadcasts from the database flow.
        presence_key: By which name its presence is known; empty where it does not say.
        wants_presence: Presence messages are wanted. Clients that do not say so either way expect them.
        wants_wait: The reply is to be held until the bindings are in force, and an error in them refuses the join.
        wait_ms: For how long at most.
        postgres_changes: The entries as sent, each the text of any JSON value but null.
    """

    is_legacy: bool = False
    token: str | None = None
    is_private: bool = False
    is_acked: bool = False
    gets_own: bool = False
    replay: Replay | None = None
    has_bad_replay: bool = False
    wants_replication_ready: bool = False
    presence_key: str = ""
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
        return JoinRequest(is_legacy=True, token=_token(join))
    config = _object(join["config"])
    broadcast = _object(config.get("broadcast"))
    presence = _object(config.get("presence"))
    options = _object(config.get("postgres_changes_options"))
    has_replay = bytes(broadcast.get("replay", NULL)) != NULL
    replay = _replay(broadcast["replay"]) if has_replay else None
    wait_ms = read_or(_INTEGER, options.get("timeout"), 0)
    return JoinRequest(
        token=_token(join),
        is_private=_boolean(config.get("private"), default=False),
        is_acked=_boolean(broadcast.get("ack"), default=False),
        gets_own=_boolean(broadcast.get("self"), default=False),
        replay=replay,
        has_bad_replay=has_replay and replay is None,
        wants_replication_ready=_boolean(broadcast.get("replication_ready"), default=False),
        presence_key=_text(presence.get("key")),
        wants_presence=_boolean(presence.get("enabled"), default=True),
        wants_wait=_boolean(options.get("wait"), default=False),
        wait_ms=min(wait_ms, MAX_WAIT_MS) if wait_ms > 0 else DEFAULT_WAIT_MS,
        postgres_changes=tuple(
            entry for entry in read_or(_ENTRIES, config.get("postgres_changes"), ()) if bytes(entry) != NULL
        ),
    )


@dataclass(frozen=True, slots=True)
class PresenceRequest:
    """What a client tells of its presence.

    Attributes:
        event: `track`, `untrack`, or whatever else it wrote, in lower case; empty if nothing.
        members: What it tells of itself: the members of a JSON object in the order of their names, without its braces
            and without what the server writes into it; None where that is no object.
        size_bytes: How long it was.
    """

    event: str
    members: bytes | None
    size_bytes: int


def read_presence(payload: Payload) -> PresenceRequest:
    """Read the payload of a `presence` push.

    Raises:
        FrameError: The payload is no JSON object.
    """
    asked = read_object(payload)
    event = read_or(_OPTIONAL_TEXT, asked.get("event"), None) or ""
    told = asked.get("payload", msgspec.Raw(NULL))
    if bytes(told) == NULL:
        return PresenceRequest(event.lower(), b"", 0)
    try:
        members = read_object(told)
    except FrameError:
        return PresenceRequest(event.lower(), None, len(bytes(told)))
    texts = [write(name) + b":" + bytes(members[name]) for name in sorted(members) if name not in _OURS]
    return PresenceRequest(event.lower(), b",".join(texts), len(bytes(told)))


def read_token(payload: Payload) -> str | None:
    """Read the payload of an `access_token` push; None where there is no text in it.

    Raises:
        FrameError: The payload is no JSON object.
    """
    token: str | None = read_or(_STRING, read_object(payload).get("access_token"), None)
    return token


def _token(join: dict[str, msgspec.Raw]) -> str | None:
    """Read a join's token: the old name wins over today's, unless that one says to use the connection's."""
    token = read_or(_STRING, join.get("access_token"), None)
    if token is not None and token.strip().startswith(OPAQUE):
        return None
    return read_or(_STRING, join.get("user_token"), None) or token or None


def _replay(value: msgspec.Raw) -> Replay | None:
    """Read which stored broadcasts are wanted; None where that cannot be read."""
    asked = _object(value)
    since_ms = read_or(_OPTIONAL_INTEGER, asked.get("since"), None)
    limit = MAX_REPLAY if bytes(asked.get("limit", NULL)) == NULL else read_or(_OPTIONAL_INTEGER, asked["limit"], None)
    if since_ms is None or limit is None:
        return None
    return Replay(min(max(since_ms, 0), MAX_TIME_MS), min(max(limit, 1), MAX_REPLAY))


def _object(value: msgspec.Raw | None) -> dict[str, msgspec.Raw]:
    """Return the members of an object, none for anything else: `null` and absent mean the same to clients."""
    if value is None:
        return {}
    try:
        return read_object(value)
    except FrameError:
        return {}


def _text(value: msgspec.Raw | None) -> str:
    """Read a text; a number or a boolean counts as its text, anything else as none."""
    text = read_or(_TEXT, value, None)
    if text is None:
        return ""
    return text if isinstance(text, str) else bytes(value or b"").decode()


def _boolean(value: msgspec.Raw | None, *, default: bool) -> bool:
    """Read a boolean, also from a text in any case: `"true"`, `"FALSE"`."""
    found = read_or(_BOOLEAN, value, default)
    return _WORDS.get(found.lower(), default) if isinstance(found, str) else found
