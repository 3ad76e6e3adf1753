"""Frames that clients send, and what becomes of them when bytes, values or sizes go wrong."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

_BINDING = {"event": "*", "schema": "public", "table": "todos", "filter": "id=gt.5", "select": ["id", "title"]}
_CONFIG = {
    "broadcast": {"ack": True, "self": True, "replay": {"since": 0, "limit": 5}},
    "presence": {"key": "me", "enabled": True},
    "postgres_changes": [_BINDING, {"event": "INSERT", "schema": "public", "since": "2026-01-01T00:00:00Z"}],
    "private": False,
}

MESSAGES: tuple[tuple[str, str, Any], ...] = (
    ("phoenix", "heartbeat", {}),
    ("realtime:a", "phx_join", {"config": _CONFIG, "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.xxxx"}),
    ("realtime:b", "phx_join", {"config": {"broadcast": {"ack": True}}}),
    ("realtime:public:todos:title=eq.milk", "phx_join", {}),
    ("realtime:a", "phx_leave", {}),
    ("realtime:a", "broadcast", {"type": "broadcast", "event": "hi", "payload": {"x": [1, 2.5, None, "ä"]}}),
    ("realtime:b", "broadcast", {"event": "hi"}),
    ("realtime:a", "presence", {"type": "presence", "event": "track", "payload": {"name": "ada"}}),
    ("realtime:a", "presence", {"event": "untrack"}),
    ("realtime:a", "access_token", {"access_token": "eyJhbGciOiJub25lIn0.e30."}),
)

_ID = "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"

_ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1e308, 10**30, "", "\u0000", "\ud83d\ude00", "x" * 300, [], {}, [[]], {"": {}}),
    *(
        "*",
        "realtime:",
        "phoenix",
        "in.(1,2)",
        "or=(id.eq.1,not.and(id.gt.2,title.like.a*))",
        "id=like.%%%%%%%%%%%%%%%%b",
    ),
)
_ODD_TEXT = ("NaN", "1e999", '"\\ud800"', "[" * 600, '{"a":' * 200, "\\u0000", "/**/", "\ufeff", "'")


def text_frame(random: random.Random, version: str) -> bytes:
    """A text message: right, or wrong in its values, or in its characters."""
    topic, event, payload = random.choice(MESSAGES)
    ref = str(random.randrange(100))
    message: Any = (
        [ref, ref, topic, event, payload]
        if version == "2.0.0"
        else {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": ref}
    )
    kind = random.random()
    if kind < 0.5:
        message = _odd(random, json.loads(json.dumps(message)))
    text = json.dumps(message)
    if kind > 0.6:
        return _damaged(random, text.encode())
    if kind > 0.5:
        at = random.randrange(len(text))
        text = text[:at] + random.choice(_ODD_TEXT) + text[at + random.randrange(4) :]
    return text.encode("utf-8", "surrogatepass")


def binary_frame(random: random.Random) -> bytes:
    """A binary message: a push or a broadcast, right or wrong in its sizes, names or content."""
    names = [
        b"6",
        b"7",
        random.choice([b"realtime:a", b"realtime:b", b""]),
        b"hi",
        random.choice([b"", b'{"persist":true}']),
    ]
    content = random.choice([b'{"a":1}', b"", b"\x00\xff", b"[1", b"null", b"x" * 300])
    if random.random() < 0.7:
        frame = bytes([3, *map(len, names), random.choice([0, 1, 2, 255])]) + b"".join(names) + content
    else:
        frame = bytes([random.choice([0, 1, 2, 4, 9]), *map(len, names[:4])]) + b"".join(names[:4]) + content
    return _damaged(random, frame) if random.random() < 0.6 else frame


def http_body(random: random.Random) -> bytes:
    """The body of a batch of broadcasts."""
    body: Any = {"messages": [{"topic": "a", "event": "hi", "payload": {"x": 1}, "private": False, "id": _ID}] * 2}
    if random.random() < 0.6:
        return json.dumps(_odd(random, json.loads(json.dumps(body)))).encode("utf-8", "surrogatepass")
    return _damaged(random, json.dumps(body).encode())


def wrapped(opcode: int, payload: bytes) -> bytes:
    """A client's WebSocket frame (RFC 6455 section 5.2), masked with zeros."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB4x", 0x80 | opcode, 0x80 | length) + payload
    if length < 1 << 16:
        return struct.pack("!BBH4x", 0x80 | opcode, 0x80 | 126, length) + payload
    return struct.pack("!BBQ4x", 0x80 | opcode, 0x80 | 127, length) + payload


def _odd(random: random.Random, value: Any) -> Any:
    """Replace, drop or repeat something in a JSON value, at any depth."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        name = random.choice(list(value))
        change = random.random()
        if change < 0.1:
            del value[name]
        elif change < 0.2:
            value[random.choice(["x", "", "config", "event", "private"])] = random.choice(_ODD)
        else:
            value[name] = _odd(random, value[name])
        return value
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        change = random.random()
        if change < 0.1:
            del value[at]
        elif change < 0.15:
            value *= random.randrange(2, 20)
        else:
            value[at] = _odd(random, value[at])
        return value
    return random.choice(_ODD)


def _damaged(random: random.Random, data: bytes) -> bytes:
    """Flip, cut, insert or repeat bytes."""
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data) + 1)
        change = random.randrange(5)
        if change == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
        elif change == 1:
            data = data[:at]
        elif change == 2:
            data = data[:at] + random.randbytes(random.randrange(8)) + data[at:]
        elif change == 3:
            data = data[:at] + data[at // 2 :]
        else:
            data = data[at:]
    return data
