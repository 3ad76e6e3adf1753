"""Keep what roles may see current: read it for a table when that is announced, for a role when its first client joins.

Postgres announces a table anew, before its next change, when its own privileges or policies change. What it does not
announce (roles, memberships, privileges on schemas) is compared every second.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgcast.model.errors import BindingError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgcast.engine.ports import Catalog, PublishedTable, Questions
    from pgcast.engine.sights import Sights
    from pgcast.matching.conditions import Question
    from pgcast.model.relation import TypeShape
    from pgcast.model.sight import Sight


class Privileges:
    """Asks the catalog what roles may see.

    Args:
        catalog: Who is asked.
        sights: Who is told.
    """

    def __init__(self, catalog: Catalog, sights: Sights) -> None:
        self._catalog = catalog
        self._sights = sights
        self._asked = 0
        self._fingerprint = ""

    async def announced(self, oid: int) -> None:
        """Learn what all roles may see of a table from now on; to be awaited before its next row is passed on.

        Raises:
            DatabaseError: The database could not be asked.
        """
        self._sights.tables[oid] = None
        await self._ask([oid], list(self._sights.roles))

    async def narrowed(
        self, role: str, tables: Sequence[PublishedTable], *, is_fresh: bool = False
    ) -> list[PublishedTable]:
        """Return tables with those columns alone that a role may select, and keep the role's sights from now on.

        Args:
            role: Whose.
            tables: Those that are published.
            is_fresh: Ask the database after this call; otherwise what is known already will do.

        Raises:
            BindingError: The role does not exist.
            DatabaseError: The database could not be asked.
        """
        sights = self._sights
        # Before the question: a table that is announced meanwhile must count it in.
        is_new = role not in sights.roles
        sights.roles[role] = None
        wanted = {table.oid for table in tables} | sights.tables.keys()
        asked = [oid for oid in wanted if is_fresh or sights.sight(role, oid) is None]
        if (asked or is_new) and not await self._ask(asked, [role]):
            if is_new:
                sights.roles.pop(role, None)
            if role not in sights.roles:
                sights.forget(role, asked)
            raise BindingError(
                f'Unable to subscribe to changes with given parameters. Exception: role "{role}" does not exist'
            )
        return [_narrowed(table, sights.sight(role, table.oid)) for table in tables]

    async def refresh(self) -> None:
        """Read everything anew if something has changed that no table announces.

        Raises:
            DatabaseError: The database could not be asked.
        """
        sights = self._sights
        if not sights.roles:
            return
        fingerprint = await self._catalog.fingerprint_of_roles()
        if fingerprint != self._fingerprint:
            await self._ask(list(sights.tables), list(sights.roles))
            self._fingerprint = fingerprint

    async def _ask(self, oids: Collection[int], roles: Collection[str]) -> bool:
        """Ask, and say whether all these roles exist."""
        if not roles:
            return True
        self._asked += 1
        number = self._asked
        found = await self._catalog.sights(oids, roles)
        self._sights.take(number, oids, roles, found)
        return len(found) == len(roles)


def _narrowed(table: PublishedTable, sight: Sight | None) -> PublishedTable:
    seen = frozenset[str]() if sight is None else sight.columns
    if seen is None:
        return table
    return replace(table, columns=tuple(column for column in table.columns if column[0] in seen))


class Narrowed:
    """The questions of a join as a role asks them: what it may not select does not exist.

    Args:
        questions: Who is asked.
        privileges: Knows what the role may see.
        role: Whose join it is.
    """

    def __init__(self, questions: Questions, privileges: Privileges, role: str) -> None:
        self._questions = questions
        self._privileges = privileges
        self._role = role

    async def published_tables(self, *, is_fresh: bool = False) -> Sequence[PublishedTable]:
        """Return all tables, with the columns that the role may select."""
        tables = await self._questions.published_tables(is_fresh=is_fresh)
        return await self._privileges.narrowed(self._role, tables, is_fresh=is_fresh)

    async def canonical_text(self, type_shape: TypeShape, text: str) -> bytes:
        """Cast a text to a type."""
        return await self._questions.canonical_text(type_shape, text)

    async def decide(self, question: Question, values: Sequence[bytes | None]) -> Sequence[bool | None]:
        """Return what Postgres says of each value."""
        return await self._questions.decide(question, values)
