"""Takes deliveries from the spool to the endpoint: one at a time, in order, until each is there or past its deadline.

A delivery that fails keeps those behind it waiting, for they come after it. Each is tried at least once, however old it
is; past its deadline, a failure sets it aside.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.engine.backoff import Backoff
from pgcast.logs import get_logger
from pgcast.webhooks.posting import Delivered
from pgcast.webhooks.retries import FIRST_WAIT_S, LONGEST_WAIT_S
from pgcast.webhooks.spool import Spool

if TYPE_CHECKING:
    from pgcast.webhooks.posting import Failed, Poster
    from pgcast.webhooks.spool import Delivery
    from pgcast.webhooks.store import Store

log = get_logger(__name__)

_IDLE_S: Final = 2.0
_REPEAT_S: Final = 60.0
GONE: Final = "answered 410 Gone"


@dataclass(slots=True)
class Tally:
    """What became of an endpoint's deliveries since the server started.

    Attributes:
        delivered: Deliveries that arrived.
        failed: Attempts that failed.
        retries: Attempts that were not the first one of their delivery.
        dead: Deliveries that were set aside.
        lost: Changes that went because the spool was full or could not be written.
    """

    delivered: int = 0
    failed: int = 0
    retries: int = 0
    dead: int = 0
    lost: int = 0


class Courier:
    """Delivers to one endpoint.

    Args:
        store: Where deliveries wait.
        poster: Makes one attempt.
        tally: What is counted.
        label: What the endpoint is called.
        deadline_s: How long a delivery is tried.

    Attributes:
        is_gone: Whether the endpoint wants nothing any more.
        news: Set when there may be something to deliver.
    """

    def __init__(self, store: Store, poster: Poster, tally: Tally, label: str, deadline_s: float) -> None:
        self.is_gone = False
        self.news = asyncio.Event()
        self._store = store
        self._poster = poster
        self._tally = tally
        self._label = label
        self._deadline_s = deadline_s
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        self._is_stopping = False
        self._said_at_s = -_REPEAT_S

    async def run(self) -> None:
        """Deliver until `stop` is called; then end once the attempt that runs has ended."""
        while not self._is_stopping:
            self.news.clear()
            if self.is_gone:
                await self._bury_all()
            else:
                delivery = await self._store.call(Spool.head)
                if delivery is not None:
                    await self._deliver(delivery)
                    continue
            # Looked at now and then all the same: a command may have put something back.
            await self._wait(_IDLE_S)

    def stop(self) -> None:
        """Ask `run` to end; twice is safe."""
        self._is_stopping = True
        self.news.set()

    async def _deliver(self, delivery: Delivery) -> None:
        self._tally.retries += delivery.attempts > 0
        outcome = await self._poster.post(delivery.draft.id, delivery.draft.body)
        if isinstance(outcome, Delivered):
            self._tally.delivered += 1
            self._backoff.reset()
            await self._store.call(lambda spool: spool.settle(delivery.number))
            return
        self._tally.failed += 1
        if outcome.is_gone:
            self.is_gone = True
            log.error(
                "an endpoint is gone: it gets nothing more until the configuration is read again; its changes are set "
                "aside",
                webhook=self._label,
                hint="list them with: pgcast webhooks dead",
            )
            return
        await self._note(delivery, outcome)

    async def _note(self, delivery: Delivery, outcome: Failed) -> None:
        age_s = time.time() - delivery.since_s
        if age_s >= self._deadline_s:
            await self._store.call(lambda spool: spool.bury(delivery.number, outcome.reason, time.time()))
            self._tally.dead += 1
            log.error(
                "a delivery is set aside: it could not be delivered before its deadline",
                webhook=self._label,
                id=delivery.draft.id,
                changes=delivery.draft.changes,
                attempts=delivery.attempts + 1,
                reason=outcome.reason,
                hint=f"replay it with: pgcast webhooks replay {delivery.draft.id}",
            )
        else:
            await self._store.call(lambda spool: spool.note_failure(delivery.number, outcome.reason, time.time()))
            self._say(outcome.reason, age_s)
        await self._rest(delivery.number, max(self._backoff.next_s(), outcome.retry_after_s))

    async def _rest(self, number: int, wait_s: float) -> None:
        """Leave the endpoint alone for a while; shorter if a command has put another delivery first."""
        clock = asyncio.get_running_loop().time
        ends_s = clock() + wait_s
        look_s = clock() + _IDLE_S
        while not self._is_stopping and (left_s := ends_s - clock()) > 0:
            self.news.clear()
            await self._wait(min(left_s, _IDLE_S))
            if clock() >= look_s:
                look_s = clock() + _IDLE_S
                if await self._store.call(Spool.head_number) != number:
                    return

    async def _bury_all(self) -> None:
        self._tally.dead += await self._store.call(lambda spool: spool.bury_all(GONE, time.time()))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            pass

    def _say(self, reason: str, age_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at_s >= _REPEAT_S:
            self._said_at_s = now_s
            log.warning(
                "a webhook cannot be delivered; trying again",
                webhook=self._label,
                reason=reason,
                waiting_s=round(age_s, 1),
            )
