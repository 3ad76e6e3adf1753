"""Keep an eye on the slot: warn when it holds much WAL, give way when it holds too much, notice what was pulled away.

A slot is a guest on the user's disk. Over the soft limit it is said, over the hard limit the window is given up first
(that confirms all that was delivered), and then, only if the settings allow it, the slot itself: its clients are told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError, StreamEnded
from pgcast.model.lsn import NO_LSN

if TYPE_CHECKING:
    from pgcast.engine.hub import Hub
    from pgcast.engine.pipeline import Pipeline
    from pgcast.engine.ports import Observation, Observer

log = get_logger(__name__)

HANGS_S = 30.0
"""After so long a silence the stream is opened anew; and each time twice as long, if that has not brought it further.

While Postgres reads a huge transaction of which nothing is published it may say nothing for half of wal_sender_timeout,
or longer, and a stream that is opened anew has to read that from its beginning.
"""

_MOST_PATIENT_S = 3600.0

_LOOK_S = 2.0
_REPEAT_S = 60.0


@dataclass(frozen=True, slots=True)
class LagLimits:
    """How much WAL may wait for us; 0 stands for no limit.

    Attributes:
        warn_bytes: Over it a warning is logged, once a minute.
        max_bytes: Over it the window is given up.
        drops_slot: Whether, if that does not help, the slot is dropped and made anew.
    """

    warn_bytes: int = 0
    max_bytes: int = 0
    drops_slot: bool = False


class Watch:
    """Looks at the slot every few seconds.

    Args:
        observer: Who looks.
        pipeline: Whose slot it is.
        hub: Whose window may be given up.
        limits: How much WAL may wait.

    Attributes:
        seen: The last observation; None before the first, and while the database cannot be asked.
    """

    def __init__(self, observer: Observer, pipeline: Pipeline, hub: Hub, limits: LagLimits) -> None:
        self._observer = observer
        self._pipeline = pipeline
        self._hub = hub
        self._limits = limits
        self._publications: dict[str, int] = {}
        self._missing: list[str] = []
        self._said_at_s: dict[str, float] = {}
        self._gave_up_window = False
        self._patience_s = HANGS_S
        self._hung_at = NO_LSN
        self.seen: Observation | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._judge_silence()
            try:
                self.seen = await self._observer.look()
            except DatabaseError:
                self.seen = None
                if self._hub.is_holding:
                    # A Postgres that is stopping waits for our reading, which waits for a client: let it go.
                    await self._pipeline.interrupt(StreamEnded("the database is going away"))
            else:
                await self._judge(self.seen)
            await asyncio.sleep(_LOOK_S)

    async def _judge_silence(self) -> None:
        """Open a stream anew that says nothing, though it is asked every second: a walsender or a network hangs."""
        health = self._pipeline.health
        now_s = asyncio.get_running_loop().time()
        if self._hub.is_holding:
            health.held_at_s = now_s
        silent_s = health.silent_s(now_s)
        received = self._pipeline.progress.received
        if received > self._hung_at:
            self._patience_s = HANGS_S
        if health.is_streaming and silent_s > self._patience_s:
            self._hung_at = received
            self._patience_s = min(2 * self._patience_s, _MOST_PATIENT_S)
            await self._pipeline.interrupt(StreamEnded(f"the replication stream has been silent for {silent_s:.0f} s"))

    async def _judge(self, seen: Observation) -> None:
        self._judge_publications(seen)
        self._pipeline.is_standby = seen.is_standby
        if seen.is_standby:
            self._say(
                "standby",
                "commits wait for pgcast as for a synchronous standby: it confirms at once, and a crash leaves nothing "
                "to resume from; name your standbys in synchronous_standby_names",
            )
        limits = self._limits
        if limits.warn_bytes and seen.lag_bytes > limits.warn_bytes:
            self._say("lag", "much WAL waits for this slot", lag_bytes=seen.lag_bytes, wal_status=seen.wal_status)
        if not limits.max_bytes or seen.lag_bytes <= limits.max_bytes:
            self._gave_up_window = False
            return
        is_first = not self._gave_up_window
        if not is_first and limits.drops_slot:
            self._gave_up_window = False
            await self._pipeline.start_over(
                f"{seen.lag_bytes} bytes of WAL waited for the slot, more than MAX_REPLICATION_LAG_MB allows"
            )
            return
        # Each time: what was still being received the last time stayed in the window.
        self._hub.window.give_up()
        self._gave_up_window = True
        if is_first:
            log.warning("too much WAL waits for this slot: the window is given up", lag_bytes=seen.lag_bytes)
        else:
            self._say("too much", "too much WAL waits for this slot", lag_bytes=seen.lag_bytes)

    def _judge_publications(self, seen: Observation) -> None:
        """Up to version 17 a missing publication ends the stream; from 18 on nobody says anything, so compare."""
        missing = [name for name in self._pipeline.publications if name not in seen.publications]
        were_missing, self._missing = self._missing, missing
        self._pipeline.health.missing = missing
        if missing:
            self._say("publication", "a publication is missing: its changes are lost", publications=missing)
        changed = [
            name
            for name, oid in seen.publications.items()
            if self._publications.get(name, oid) != oid or name in were_missing
        ]
        if changed:
            log.warning("a publication was away for a while: changes in between were lost", publications=changed)
            self._pipeline.tell_lost()
        self._publications.update(seen.publications)

    def _say(self, subject: str, text: str, **more: object) -> None:
        """Log a warning, each kind at most once a minute."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at_s.get(subject, -_REPEAT_S) >= _REPEAT_S:
            self._said_at_s[subject] = now_s
            log.warning(text, **more)
