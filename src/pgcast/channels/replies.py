"""What a session says, as messages with the refs that the protocol prescribes for each kind.

    reply to a request on a channel, to a leave, to a join      join_ref and ref as in the request
    reply to a heartbeat, or on a topic that is not joined      join_ref null, ref as in the request
    `system`, `presence_state`                                  the channel's join_ref, ref null
    `presence_diff`                                             null, null
    `phx_close`, `phx_error`                                    the channel's join_ref, in both places

A reply's `response` is always an object, and a payload is never null: clients fail on anything else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from pgcast.frames.message import Message

if TYPE_CHECKING:
    from pgcast.channels.channel import Channel

_EMPTY: Final = b"{}"


def ok_reply(request: Message, response: bytes = _EMPTY) -> Message:
    """Answer a request with success.

    Args:
        request: What is answered.
        response: The text of a JSON object.
    """
    payload = b'{"status":"ok","response":%b}' % response
    return Message(request.join_ref, request.ref, request.topic, "phx_reply", payload)


def error_reply(request: Message, reason: str) -> Message:
    """Answer a request with a reason; that of a refused join is of the form `Code: text`."""
    payload = msgspec.json.encode({"status": "error", "response": {"reason": reason}})
    return Message(request.join_ref, request.ref, request.topic, "phx_reply", payload)


def heartbeat_reply(request: Message) -> Message:
    """Answer a heartbeat."""
    return ok_reply(replace(request, join_ref=None))


def unmatched_reply(request: Message) -> Message:
    """Answer a message on a topic that is not joined, or that cannot be."""
    return error_reply(replace(request, join_ref=None), "unmatched topic")


def join_reply(channel: Channel) -> Message:
    """Accept a join. The key `postgres_changes` is always there: two clients wait for it."""
    return ok_reply(channel.request, b'{"postgres_changes":[%b]}' % b",".join(channel.echo))


def presence_state(channel: Channel, presences: bytes) -> Message:
    """Tell who is there.

    Args:
        channel: Who is told.
        presences: A JSON object by presence key; empty if nobody is there.
    """
    return Message(channel.join_ref, None, channel.topic, "presence_state", presences)


def presence_diff(channel: Channel, difference: bytes) -> Message:
    """Tell one channel what else is to be known of who is there, as all are told of changes."""
    return Message(None, None, channel.topic, "presence_diff", difference)


def system(channel: Channel, extension: str, status: str, text: str, **more: str | None) -> Message:
    """Tell a channel about its state: always the same four keys, because clients drop the message without them.

    Args:
        channel: Who is told.
        extension: `postgres_changes` or `system`.
        status: `ok` or `error`; on `error` several clients rejoin.
        text: Several clients read it, so keep to the protocol's wording.
        more: Further keys.
    """
    payload = {"extension": extension, "status": status, "message": text, "channel": channel.name, **more}
    return Message(channel.join_ref, None, channel.topic, "system", msgspec.json.encode(payload))


def gap_detected(channel: Channel, oldest: str | None) -> Message:
    """Tell that changes are missing. The status is `ok` on purpose: on `error` clients rejoin, and ask the same again.

    Args:
        channel: Who is told.
        oldest: The oldest position that can still be had; None if there is none.
    """
    lost = "changes" if oldest is None else f"changes before {oldest}"
    text = f"GapDetected: {lost} are no longer held; fetch the data again"
    return system(channel, "system", "ok", text, code="GapDetected", oldest=oldest)


def closed(channel: Channel) -> Message:
    """Tell that the channel has ended for good."""
    return Message(channel.join_ref, channel.join_ref, channel.topic, "phx_close")


def errored(channel: Channel) -> Message:
    """Tell that the channel broke: clients join again after a second or more."""
    return Message(channel.join_ref, channel.join_ref, channel.topic, "phx_error")
