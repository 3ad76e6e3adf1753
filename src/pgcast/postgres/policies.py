"""What the policies on `realtime.messages` allow whom.

However many ask at once, they share a few connections and, in batches, a transaction; equal questions are asked once.
So a thousand joins cost some dozens of transactions, never a thousand in a row.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import psycopg

from pgcast.engine.ports import Permission
from pgcast.logs import get_logger
from pgcast.model.errors import DatabaseError, PoliciesUnavailable
from pgcast.postgres.connection import connect_for_policies, within
from pgcast.postgres.probes import DENIED, EXTENSIONS, Denied, begin, end, is_lost, read, write
from pgcast.postgres.refusals import server_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgcast.engine.ports import Asker
    from pgcast.postgres.connection import SqlConnection, Target

log = get_logger(__name__)

CONNECTIONS: Final = 4
MAX_WAITING: Final = 20_000
TIMEOUT_S: Final = 4.0

_BATCH: Final = 50
_BATCH_S: Final = 0.5  # then the others go to whoever is free: one slow policy must not hold them all up
_REPEAT_S: Final = 60.0
_MAX_SAID: Final = 100

_AWAY: Final = "UnableToConnectToProject: Realtime was unable to connect to the project database"
_SLOW: Final = "QueryCanceled: canceling statement due to statement timeout"
_PARTITION: Final = "MissingPartition: Realtime was unable to find the expected messages partition"
_TABLE: Final = "DatabaseNotPrepared: The table realtime.messages is missing, which private channels need"
_RIGHTS: Final = "DatabaseNotPrepared: The server may not use the table realtime.messages"

_INIT: Final = "`pgcast init` makes it"
_OWNER: Final = "the server's role must own realtime.messages, or bypass row level security"

_NOBODY: Final = Permission(broadcast=False, presence=False)


@dataclass(frozen=True, slots=True)
class _Question:
    asker: Asker
    is_read: bool


_Waiting: TypeAlias = OrderedDict[_Question, list[asyncio.Future[Permission]]]


class PostgresPolicies:
    """Policies on a few connections of their own, opened when they are needed.

    Args:
        target: The database; its role must own `realtime.messages` or bypass its policies, and be able to switch to
            the roles of the tokens.
        connections: How many there may be.
        timeout_s: How long an asker waits.

    Attributes:
        asked: How many questions were asked.
        transactions: In how many transactions.
    """

    def __init__(self, target: Target, *, connections: int = CONNECTIONS, timeout_s: float = TIMEOUT_S) -> None:
        self._target = target
        self._limit = connections
        self._timeout_s = timeout_s
        self._idle: list[SqlConnection] = []
        self._waiting: _Waiting = OrderedDict()  # in the order in which they came, each with those who wait for it
        self._workers: set[asyncio.Task[None]] = set()
        self._said_at_s: dict[str, float] = {}
        self.asked = 0
        self.transactions = 0

    async def may_read(self, asker: Asker) -> Permission:
        """Say what somebody may receive."""
        return await self._ask(_Question(asker, is_read=True))

    async def may_write(self, asker: Asker) -> Permission:
        """Say what somebody may send."""
        return await self._ask(_Question(asker, is_read=False))

    async def close(self) -> None:
        """Close all connections; whoever still waits is told that the database is away. Twice is safe."""
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._fail(self._waiting, PoliciesUnavailable("the server is stopping", reason=_AWAY))
        while self._idle:
            await self._idle.pop().close()

    async def _ask(self, question: _Question) -> Permission:
        asker = question.asker
        if asker.role in {"", "none"} or any("\0" in text for text in (asker.role, asker.topic, asker.subject)):
            # `none` is no role: to switch to it is to stay the server's own.
            return _NOBODY
        if len(self._waiting) >= MAX_WAITING and question not in self._waiting:
            raise PoliciesUnavailable("too many private channels wait for an answer", reason=_AWAY)
        future: asyncio.Future[Permission] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(future)
        if len(self._workers) < self._limit:
            self._workers.add(asyncio.create_task(self._work(), name="policies"))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError:
            raise PoliciesUnavailable("the policies were not answered in time", reason=_AWAY) from None

    async def _work(self) -> None:
        """Answer batches until nobody waits."""
        try:
            while batch := self._take():
                try:
                    await within(self._timeout_s, self._answer(batch))
                except (DatabaseError, psycopg.Error, TimeoutError) as error:
                    self._fail(batch, self._unavailable(error))
                except BaseException:
                    self._fail(batch, PoliciesUnavailable("the policies could not be asked", reason=_AWAY))
                    raise
        finally:
            # At once: who asks in the next moment must find that a worker is missing.
            self._workers.discard(asyncio.current_task())

    def _take(self) -> _Waiting:
        """Take questions of which somebody still waits for the answer."""
        size = min(_BATCH, max(1, len(self._waiting) // max(1, len(self._workers))))
        batch: _Waiting = OrderedDict()
        while self._waiting and len(batch) < size:
            question, futures = self._waiting.popitem(last=False)
            if any(not future.done() for future in futures):
                batch[question] = futures
        return batch

    async def _answer(self, batch: _Waiting) -> None:
        while self._idle:
            connection = self._idle.pop()
            try:
                await self._answer_over(connection, batch)
            except psycopg.Error as error:
                if not is_lost(connection, error):
                    raise
                # It had gone stale; the next one, or a new one, will do.
            else:
                return
        connection = await connect_for_policies(self._target, timeout_s=self._timeout_s)
        await self._answer_over(connection, batch)

    async def _answer_over(self, connection: SqlConnection, batch: _Waiting) -> None:
        """Answer what can be answered in a while, and put the rest back in front."""
        clock = asyncio.get_running_loop().time
        ends_s = clock() + _BATCH_S
        is_clean = False
        try:
            probes = await begin(connection, (question.asker.topic for question in batch))
            self.transactions += 1
            while batch and clock() < ends_s:
                question = next(iter(batch))
                answer = await self._answer_one(connection, question, probes.get(question.asker.topic))
                _tell(batch.pop(question), answer)
            await end(connection)
            is_clean = True
        finally:
            if is_clean:
                self._idle.append(connection)
            else:
                await connection.close()
        while batch:
            question, futures = batch.popitem()
            self._waiting.setdefault(question, []).extend(futures)
            self._waiting.move_to_end(question, last=False)

    async def _answer_one(
        self, connection: SqlConnection, question: _Question, probes: Sequence[str] | None
    ) -> Permission | PoliciesUnavailable:
        asker = question.asker
        self.asked += 1
        if probes is None:
            return _NOBODY  # what cannot be stored there cannot be allowed either
        try:
            if question.is_read:
                seen = await read(connection, asker, probes)
            else:
                seen = {extension for extension in EXTENSIONS if await self._may_insert(connection, asker, extension)}
        except Denied as denied:
            self._say_denied(asker.role, denied.error)
            return _NOBODY
        except psycopg.errors.QueryCanceled as error:
            return self._unavailable(error)
        return Permission(broadcast="broadcast" in seen, presence="presence" in seen)

    async def _may_insert(self, connection: SqlConnection, asker: Asker, extension: str) -> bool:
        try:
            await write(connection, asker, extension)
        except Denied as denied:
            if denied.error.sqlstate != DENIED:
                self._say_denied(asker.role, denied.error)
            return False
        return True

    def _unavailable(self, error: Exception) -> PoliciesUnavailable:
        """Say why there is no answer, and what would help; logged, at most once a minute each."""
        sqlstate = error.sqlstate if isinstance(error, psycopg.Error) else None
        text = server_text(error) if isinstance(error, psycopg.Error) else str(error) or "no answer in time"
        reason, hint = _AWAY, error.hint if isinstance(error, DatabaseError) else ""
        if sqlstate in {"3F000", "42P01", "42703"}:
            reason, hint = _TABLE, _INIT
        elif sqlstate == DENIED:
            reason, hint = _RIGHTS, _OWNER
        elif sqlstate == "23514" and "partition" in text:
            reason, hint = _PARTITION, _INIT
        elif sqlstate == "57014":
            reason, hint = _SLOW, "a policy on realtime.messages takes longer than a second"
        if self._is_news(reason):
            log.warning("the policies of private channels cannot be asked", error=text, hint=hint or None)
        return PoliciesUnavailable(text, reason=reason, hint=hint)

    def _say_denied(self, role: str, error: psycopg.Error) -> None:
        """Log an error as the asker, without its words: they may repeat a claim."""
        kind = type(error).__name__
        if self._is_news(f"{role} {kind}"):
            log.warning(
                "a private channel is denied: a policy on realtime.messages, or switching to the role, failed",
                role=role,
                sqlstate=error.sqlstate,
                kind=kind,
            )

    def _is_news(self, subject: str) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._said_at_s.get(subject, -_REPEAT_S) < _REPEAT_S:
            return False
        if len(self._said_at_s) > _MAX_SAID:
            self._said_at_s.clear()
        self._said_at_s[subject] = now_s
        return True

    def _fail(self, waiting: _Waiting, error: PoliciesUnavailable) -> None:
        while waiting:
            _tell(waiting.popitem()[1], error)


def _tell(futures: Iterable[asyncio.Future[Permission]], answer: Permission | PoliciesUnavailable) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(answer, Permission):
            future.set_result(answer)
        else:
            future.set_exception(answer)
