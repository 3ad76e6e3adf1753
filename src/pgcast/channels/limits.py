"""What one connection may ask for at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one session.

    Attributes:
        max_channels: Topics joined at the same time; 0 for no limit.
        max_bindings: Entries of `postgres_changes` in one join.
        max_join_bytes: The length of one `phx_join` frame: a channel remembers most of what is in it.
        max_held: Messages that wait for a decision, over all topics.
        max_held_bytes: The length of their frames together; a single one may be longer.
        max_payload_bytes: The payload of one broadcast or track; 0 for no limit.
        max_messages_per_s: What one connection sends to its channels, on average; 0 for no limit.
        max_presence_per_s: The presence messages of one channel, on average; 0 for no limit.
        max_presence_calls: Those within 30 seconds; 0 for no limit.
        private_only: Whether channels that are not private are refused.
    """

    max_channels: int = 1000
    max_bindings: int = 1000
    max_join_bytes: int = 262_144
    max_held: int = 256
    max_held_bytes: int = 1_000_000
    max_payload_bytes: int = 3_000_500
    max_messages_per_s: float = 0
    max_presence_per_s: float = 0
    max_presence_calls: int = 0
    private_only: bool = False
