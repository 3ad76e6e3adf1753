"""Whether the node is well: ready means that the replication stream moved, or was confirmed idle, a moment ago."""

from __future__ import annotations

from dataclasses import dataclass, field

STALE_S = 10.0
"""A stream that said nothing for so long, though asked every second, is not ready."""


@dataclass(slots=True)
class Health:
    """What the pipeline knows of its stream.

    Attributes:
        is_streaming: Whether a replication stream is open.
        heard_at_s: When Postgres last sent anything, on the loop's clock.
        held_at_s: When reading last paused for the sake of those who are slow: then it is us who do not listen.
        trouble: Why no stream is open; empty while one is.
        missing: Publications that are followed and do not exist.
    """

    is_streaming: bool = False
    heard_at_s: float = 0.0
    held_at_s: float = float("-inf")
    trouble: str = "the replication stream has not been opened yet"
    missing: list[str] = field(default_factory=list)

    def is_ready(self, now_s: float) -> bool:
        """Say whether changes flow, or would."""
        return not self.why_not(now_s)

    def silent_s(self, now_s: float) -> float:
        """Return for how long Postgres has said nothing though we listened, or listened a moment ago."""
        return now_s - max(self.heard_at_s, self.held_at_s)

    def why_not(self, now_s: float) -> str:
        """Say in one line what is wrong; empty when ready."""
        if not self.is_streaming:
            return self.trouble
        if self.missing:
            return f"publications do not exist: {', '.join(self.missing)}"
        silent_s = self.silent_s(now_s)
        return "" if silent_s <= STALE_S else f"the replication stream has been silent for {silent_s:.0f} s"
