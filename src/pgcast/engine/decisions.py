"""What only Postgres can say of a value, asked in batches and remembered for a while.

Whoever needs an answer asks, gets PENDING, and asks again once told that there are new ones. Each question has a
deadline, and is asked apart from the others: a pattern that takes for ever keeps only those waiting who wrote it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from pgcast.logs import get_logger
from pgcast.matching.conditions import PENDING
from pgcast.model.errors import BindingError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.engine.ports import Catalog
    from pgcast.matching.conditions import Question, Verdict

log = get_logger(__name__)

_MAX_BATCH = 200
_MAX_KEPT = 100_000
_MAX_KEPT_BYTES = 32 << 20
_RETRY_S = 1.0


class Decisions:
    """Answers of Postgres', by question and value.

    Args:
        catalog: Who is asked.
        when_answered: Called when there are new answers.
    """

    def __init__(self, catalog: Catalog, when_answered: Callable[[], None]) -> None:
        self._catalog = catalog
        self._when_answered = when_answered
        self._answers: OrderedDict[tuple[Question, bytes], bool | None] = OrderedDict()
        self._kept_bytes = 0
        self._missing: dict[Question, dict[bytes, None]] = {}
        self._tasks: dict[Question, asyncio.Task[None]] = {}

    def __call__(self, question: Question, value: bytes) -> Verdict:
        """Return Postgres' answer; PENDING where it is not there yet: then it will be asked for."""
        key = (question, value)
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        self._missing.setdefault(question, {})[value] = None
        if question not in self._tasks:
            self._tasks[question] = asyncio.get_running_loop().create_task(self._ask(question), name="decisions")
        return PENDING

    async def close(self) -> None:
        """Ask nothing more; twice is safe."""
        for task in list(self._tasks.values()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _ask(self, question: Question) -> None:
        try:
            await asyncio.sleep(0)  # until all is known that is to be asked in this turn
            while values := list(self._missing.get(question, ()))[:_MAX_BATCH]:
                await self._ask_some(question, values)
                self._when_answered()
        finally:
            self._missing.pop(question, None)
            self._tasks.pop(question, None)

    async def _ask_some(self, question: Question, values: list[bytes]) -> None:
        self._trim()
        try:
            answers = await self._catalog.decide(question, values)
        except DatabaseError as error:
            log.warning("filters wait for the database", error=str(error))
            await asyncio.sleep(_RETRY_S)
            return
        except BindingError as error:
            if len(values) > 1:
                # One of them is to blame; the others shall have their answers.
                for value in values:
                    await self._ask_some(question, [value])
                return
            log.warning("Postgres cannot decide a filter for a row", operator=question.operator, reason=error.message)
            answers = [None]
        for value, answer in zip(values, answers, strict=True):
            self._answers[question, value] = answer
            self._kept_bytes += len(value)
            self._missing[question].pop(value, None)

    def _trim(self) -> None:
        """Forget the oldest answers, before new ones come: those must stay until they have been read."""
        while len(self._answers) > _MAX_KEPT or self._kept_bytes > _MAX_KEPT_BYTES:
            (_, oldest), _ = self._answers.popitem(last=False)
            self._kept_bytes -= len(oldest)
