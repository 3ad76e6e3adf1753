"""What clients send that nobody can read or use: dropped, counted, and said, now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgcast.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.channels.session import Session

log = get_logger(__name__)

_SILENCE_S: Final = 1.0


class Dropped:
    """What was dropped of all clients together.

    Args:
        clock: Seconds, for the log: who sends nothing but noise must not fill it.

    Attributes:
        malformed: How many messages could not be read.
        unexpected: How many had an event or a payload that means nothing here.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.malformed = 0
        self.unexpected = 0
        self._clock = clock
        self._silent_until_s = float("-inf")
        self._said = 0

    def note(self, session: Session) -> None:
        """Take over what a session has counted, and say it unless something was said a moment ago."""
        self.malformed += session.malformed
        self.unexpected += session.ignored
        reason = session.malformed_reason if session.malformed else "an event or a payload that means nothing here"
        session.malformed = session.ignored = 0
        now_s = self._clock()
        if now_s >= self._silent_until_s:
            self._silent_until_s = now_s + _SILENCE_S
            total = self.malformed + self.unexpected
            log.info("message dropped", reason=reason, dropped=total - self._said)
            self._said = total
