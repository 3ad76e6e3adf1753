"""An endpoint's spool from the event loop: every call runs in the spool's own thread, and troubles are made good.

A damaged file is set aside and a new one begun; a full disk or a missing right is tried again for ever. Whatever it is,
it is said in the log with the file's name, and concerns this endpoint alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Final, TypeVar

from pgcast.logs import get_logger
from pgcast.webhooks.spool import Spool, SpoolDamaged, SpoolStatus, is_damage
from pgcast.webhooks.thread import LooseThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = get_logger(__name__)

Result = TypeVar("Result")

_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 10.0
_SLOW_S: Final = 5.0
_REPEAT_S: Final = 60.0
_STATUS_S: Final = 0.25


class Store:
    """The spool of one endpoint.

    Args:
        path: Its file.
        limit_bytes: Its bound.
        label: What the endpoint is called.

    Attributes:
        status: What is in it, as of a moment ago.
    """

    def __init__(self, path: Path, limit_bytes: int, label: str) -> None:
        self.status = SpoolStatus(label)
        self._path = path
        self._limit_bytes = limit_bytes
        self._label = label
        self._spool: Spool | None = None
        self._thread = LooseThread("pgcast-spool")
        self._said_at_s = -_REPEAT_S
        self._looked_at_s = -_STATUS_S

    async def call(
        self, work: Callable[[Spool], Result], when_troubled: Callable[[bool], None] = lambda _is_troubled: None
    ) -> Result:
        """Do something with the spool, and try again until it works.

        Args:
            work: Called in the spool's thread; must be one transaction.
            when_troubled: Called with True when it does not work, or takes too long, and with False once it does.
        """
        wait_s = _RETRY_S
        is_troubled = False
        while True:
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
            try:
                # Cancelled or not, the thread does its work; so it is waited for.
                done, _ = await asyncio.wait({future}, timeout=_SLOW_S)
                if not done:
                    is_troubled = True
                    when_troubled(True)
                    self._say(f"the disk has not answered for {_SLOW_S:g} s")
                result = await future
            except (sqlite3.Error, OSError) as error:
                is_troubled = True
                when_troubled(True)
                self._say(str(error))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_RETRY_S)
            else:
                if is_troubled:
                    when_troubled(False)
                    log.info("a webhook's spool works again", webhook=self._label, file=str(self._path))
                return result

    async def try_to_open(self) -> tuple[int, str]:
        """Open the spool once; return its history and position, 0 and nothing if it cannot be opened."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, Spool.place)
        except (sqlite3.Error, OSError) as error:
            self._say(str(error))
            return 0, ""

    async def close(self) -> None:
        """Close the file once what runs has ended, or is given up; nothing may be called afterwards."""
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._look_and_close)
        await asyncio.wait({closing}, timeout=_SLOW_S)
        self._thread.shutdown(wait=False)

    # In the spool's thread

    def _do(self, work: Callable[[Spool], Result]) -> Result:
        try:
            return self._use(work)
        except SpoolDamaged as error:
            self._set_aside(str(error))
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                self._close()  # what opens next sees whether it was mended
                raise
            self._set_aside(str(error))
        return self._use(work)

    def _use(self, work: Callable[[Spool], Result]) -> Result:
        if self._spool is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            spool = Spool(self._path, self._limit_bytes)
            spool.set_label(self._label)
            self._spool = spool
        result = work(self._spool)
        now_s = time.monotonic()
        if result is None or now_s - self._looked_at_s >= _STATUS_S:
            self._looked_at_s = now_s
            self.status = self._spool.status()
        return result

    def _set_aside(self, reason: str) -> None:
        """Begin anew; what was in the file stays on the disk for whoever can read it."""
        self._close()
        aside = self._path.with_name(f"{self._path.name}.damaged-{int(time.time())}")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            beside = self._path.with_name(self._path.name + suffix)
            if beside.exists():
                beside.replace(aside.with_name(aside.name + suffix))
        log.error(
            "a webhook's spool is damaged: it was set aside, with the deliveries in it, and a new one is begun",
            webhook=self._label,
            reason=reason,
            file=str(aside),
        )

    def _look_and_close(self) -> None:
        if self._spool is not None:
            with contextlib.suppress(sqlite3.Error):
                self.status = self._spool.status()
        self._close()

    def _close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    # On the loop

    def _say(self, reason: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at_s >= _REPEAT_S:
            self._said_at_s = now_s
            log.error(
                "a webhook's spool cannot be used; its changes wait in memory and in the WAL",
                webhook=self._label,
                file=str(self._path),
                reason=reason,
                hint="the folder PGCAST_STATE_DIR needs free space, and pgcast the right to write there",
            )
