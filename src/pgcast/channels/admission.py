"""A `phx_join` to a channel, or to the reason why it is refused without asking anyone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pgcast.channels.channel import TOPIC_PREFIX, Channel
from pgcast.channels.postgres_changes import read_entries
from pgcast.frames.payloads import read_join
from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from pgcast.channels.limits import Limits
    from pgcast.frames.message import Message
    from pgcast.frames.payloads import JoinRequest

TOO_MANY_CHANNELS: Final = "ChannelRateLimitReached: Too many channels"

_BAD_REPLAY: Final = "Replay params are not valid"
_PUBLIC_REPLAY: Final = "Replay is not allowed for public channels"


def admit(message: Message, limits: Limits, others: int) -> Channel | str:
    """Read a join.

    Args:
        message: A `phx_join` on a topic that begins with `realtime:`.
        limits: What one connection may ask for.
        others: How many channels the connection has on other topics.

    Returns:
        A channel that waits for the decision on its bindings, or the reason of a refusal, `Code: text`.
    """
    reason = _over_limits(message, limits, others)
    if reason is not None:
        return reason
    try:
        asked = read_join(message.payload)
    except FrameError:
        return "InvalidJoinPayload: The join payload must be an object"
    reason = _asks_too_much(asked, limits)
    if reason is not None:
        return reason
    entries = read_entries(asked.postgres_changes)
    if entries.error is not None and asked.wants_wait:
        return misconfigured(entries.error)
    return Channel(
        topic=message.topic,
        request=replace(message, payload=b"null", size=0),
        bindings=entries.bindings,
        echo=entries.echo,
        binding_error=entries.error,
        wants_wait=asked.wants_wait,
        wait_ms=asked.wait_ms,
        legacy_topic=message.topic.removeprefix(TOPIC_PREFIX) if asked.is_legacy else None,
        token=asked.token,
        is_private=asked.is_private,
        is_acked=asked.is_acked,
        gets_own=asked.gets_own,
        replay=asked.replay,
        wants_replication_ready=asked.wants_replication_ready,
        presence_key=asked.presence_key,
        wants_presence=asked.wants_presence and not asked.is_legacy,
        gives_up=not asked.says_presence,
    )


def misconfigured(error: str) -> str:
    """Return the reason of a refusal for an error in the bindings: so a join that waits for them learns of it."""
    return f"RealtimeDisabledForConfiguration: {error}"


def _asks_too_much(asked: JoinRequest, limits: Limits) -> str | None:
    if limits.private_only and not asked.is_private:
        return "PrivateOnly: This project only allows private channels"
    if len(asked.postgres_changes) > limits.max_bindings:
        return f"InvalidJoinPayload: The join must have at most {limits.max_bindings} postgres_changes entries"
    if asked.has_bad_replay or (asked.replay is not None and not asked.is_private):
        return f"UnableToReplayMessages: {_BAD_REPLAY if asked.is_private else _PUBLIC_REPLAY}"
    return None


def _over_limits(message: Message, limits: Limits, others: int) -> str | None:
    if message.topic == TOPIC_PREFIX:
        return "TopicNameRequired: You must provide a topic name"
    if 0 < limits.max_channels <= others:
        return TOO_MANY_CHANNELS
    if message.size > limits.max_join_bytes:
        return f"InvalidJoinPayload: The join must be at most {limits.max_join_bytes} bytes"
    return None
