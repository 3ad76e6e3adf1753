"""Policies in memory: what a test says somebody may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgcast.engine.ports import Permission

if TYPE_CHECKING:
    from pgcast.engine.ports import Asker

EVERYTHING = Permission(broadcast=True, presence=True)
NOTHING = Permission(broadcast=False, presence=False)


class MemoryPolicies:
    """Answers by role.

    Attributes:
        reading: What each role may read; nothing for those who are not named.
        writing: What each role may write.
        failure: Raised instead of an answer, while there is one.
        asked: Everything that was asked, as (`read` or `write`, asker).
        is_silent: Nothing is answered, until it is set to False.
    """

    def __init__(self) -> None:
        self.reading: dict[str, Permission] = {}
        self.writing: dict[str, Permission] = {}
        self.failure: Exception | None = None
        self.asked: list[tuple[str, Asker]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_closed = False

    async def may_read(self, asker: Asker) -> Permission:
        return await self._answer("read", asker, self.reading)

    async def may_write(self, asker: Asker) -> Permission:
        return await self._answer("write", asker, self.writing)

    async def close(self) -> None:
        self.is_closed = True

    async def _answer(self, how: str, asker: Asker, by_role: dict[str, Permission]) -> Permission:
        self.asked.append((how, asker))
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return by_role.get(asker.role, NOTHING)
