"""One endpoint at work: its intake fills its spool, its courier empties it; nothing of it concerns another endpoint."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from pgcast.logs import get_logger
from pgcast.webhooks.courier import GONE, Courier, Tally
from pgcast.webhooks.folder import spool_path
from pgcast.webhooks.intake import Intake
from pgcast.webhooks.posting import Poster
from pgcast.webhooks.spool import Spool
from pgcast.webhooks.store import Store

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from pgcast.model.change import Change
    from pgcast.webhooks.plans import Plan, WebhookOptions
    from pgcast.webhooks.spool import SpoolStatus

log = get_logger(__name__)

_LOOK_S: Final = 1.0
_GATHER_S: Final = 0.01  # many small transactions are stored together: each storing costs the loop a little time
_REPEAT_S: Final = 60.0
_GRACE_S: Final = 5.0
_AGAIN_S: Final = 1.0


class Endpoint:
    """An endpoint; made on the loop.

    Args:
        plan: What it gets, and where that goes.
        options: What the settings say.
        tls: How certificates are verified.
        render: Returns the JSON of a change.
        received: Returns the furthest WAL position heard of.

    Attributes:
        plan: As given.
        intake: Its sink.
        tally: What became of its deliveries.
    """

    def __init__(
        self,
        plan: Plan,
        options: WebhookOptions,
        tls: ssl.SSLContext,
        render: Callable[[Change], bytes],
        received: Callable[[], int],
    ) -> None:
        self.plan = plan
        self.intake = Intake(plan.key, plan.entries, render, max_bytes=options.body_bytes)
        self.tally = Tally()
        self._options = options
        self._tls = tls
        self._received = received
        self._store = Store(spool_path(options.folder, plan.key), options.spool_bytes, plan.label)
        self._poster = self._make_poster()
        self._courier = self._make_courier()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_stopping = False
        self._said_at_s = -_REPEAT_S

    @property
    def status(self) -> SpoolStatus:
        """What is in the spool, as of the last time it was used."""
        return self._store.status

    @property
    def is_gone(self) -> bool:
        """Whether the endpoint wants nothing any more."""
        return self._courier.is_gone

    async def open(self) -> None:
        """Find out which changes an earlier run has put into the spool; before the first change comes."""
        self.intake.know_place(*await self._store.try_to_open())

    def start(self) -> None:
        """Begin to store and to deliver."""
        self._start("storing", self._write)
        self._start("delivering", self._courier.run)
        self._start("looking", self._look)

    async def change(self, plan: Plan) -> None:
        """Go on with another plan of the same key, and try again if the endpoint was gone.

        What it wants has been told to the hub already. An attempt that runs, or a wait for the next one, goes on where
        nothing has changed for it.
        """
        before, self.plan = self.plan, plan
        if (before.url, before.keys) == (plan.url, plan.keys) and not self.is_gone:
            return
        self._courier.stop()
        await self._end("delivering")
        await self._poster.close()
        self._poster = self._make_poster()
        self._courier = self._make_courier()
        self._start("delivering", self._courier.run)

    async def stop(self) -> None:
        """Let the attempt that runs end, for a few seconds, and store what is in memory."""
        self.intake.break_off()
        self._is_stopping = True
        self._courier.stop()
        self.intake.news.set()
        await asyncio.gather(self._end("delivering"), self._end("storing"))
        if "looking" in self._tasks:
            self._tasks["looking"].cancel()
            await self._end("looking")
        await self._poster.close()
        await self._store.close()

    def _start(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._tasks[name] = asyncio.create_task(self._insist(name, work), name=f"{name} {self.plan.label}")

    async def _insist(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do the work to its end; after a fault of ours begin again, for it would be missed by nobody but receivers."""
        while True:
            try:
                await work()
            except Exception:
                if name == "storing":
                    self._troubled(True)  # the stream must not wait for it
                log.exception("the work on a webhook failed; beginning again", webhook=self.plan.label, work=name)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            await asyncio.wait({task}, timeout=_GRACE_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _make_poster(self) -> Poster:
        options = self._options
        return Poster(self.plan.url, options.headers, self.plan.keys, options.rules, self._tls, options.timeout_s)

    def _make_courier(self) -> Courier:
        return Courier(self._store, self._poster, self.tally, self.plan.label, self._options.deadline_s)

    async def _write(self) -> None:
        """Bring what the intake has into the spool."""
        while True:
            await self.intake.news.wait()
            if not self._is_stopping:
                await asyncio.sleep(_GATHER_S)
            history, drafts = self.intake.batch()
            if not drafts:
                if self._is_stopping:
                    return
                continue
            reason = GONE if self._courier.is_gone else ""
            append = partial(Spool.append, drafts=drafts, now_s=time.time(), history=history, dead_because=reason)
            lost = await self._store.call(append, self._troubled)
            self._troubled(False)
            self.intake.stored(drafts)
            self.tally.dead += len(drafts) if reason else 0
            if lost:
                self.tally.lost += lost
                self._say(
                    "a webhook's spool is full: its oldest changes are lost",
                    changes=lost,
                    hint="PGCAST_WEBHOOK_SPOOL_MB is the bound; `pgcast webhooks list` shows what is in it",
                )
            self._courier.news.set()
            if self._is_stopping:
                self.intake.news.set()

    async def _look(self) -> None:
        """Now and then, see to it that a spool that cannot be written does not hold back too much WAL."""
        while True:
            await asyncio.sleep(_LOOK_S)
            intake = self.intake
            unsafe_from = intake.unsafe_from
            if unsafe_from is None or not (intake.is_in_trouble or intake.skipped):
                continue
            if self._received() - unsafe_from > self._options.spool_bytes:
                lost = intake.give_up()
                self.tally.lost += lost
                log.error(
                    "a webhook's spool could not be written for too long: changes are lost",
                    webhook=self.plan.label,
                    changes=lost,
                )
            elif intake.skipped and not intake.is_in_trouble:
                self._say(
                    "changes of a webhook wait in the WAL, for its spool could not be written: restart pgcast",
                    changes=intake.skipped,
                )

    def _troubled(self, is_troubled: bool) -> None:  # noqa: FBT001 - a callback's one argument
        self.intake.is_in_trouble = is_troubled

    def _say(self, text: str, **more: object) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at_s >= _REPEAT_S:
            self._said_at_s = now_s
            log.error(text, webhook=self.plan.label, **more)
