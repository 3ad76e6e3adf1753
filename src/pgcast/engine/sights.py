"""What the roles of the clients may see of the tables: looked up for every change, and changed when the rights do.

A match has three steps: the binding, which the index decides; the privileges, which are decided here; and the table's
policies, about each row. The third is not asked yet: where policies would decide, nothing is delivered. It will be
asked where `Access.is_denied` is looked at, and may take its time there as filters that only Postgres can decide do.

What is known is of now, not of the time of the change: a right that was given after a change shows that change, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.change import Kind
from pgcast.model.sight import BLIND

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pgcast.model.relation import Table
    from pgcast.model.sight import Sight

NO_KEY: Final = "Error 400: Bad Request, no primary key"
NOT_ALLOWED: Final = "Error 401: Unauthorized"

_MAX_TABLES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Access:
    """What a role gets of one table's changes.

    Attributes:
        columns: The names of the columns it sees; None for all.
        error: What it is told in place of the row of each INSERT and UPDATE; empty if it gets the row.
        is_denied: Whether it gets nothing, because policies would have to decide.
    """

    columns: frozenset[str] | None = None
    error: str = ""
    is_denied: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it gets everything as it is."""
        return self.columns is None and not self.error and not self.is_denied

    def refuses(self, kind: Kind) -> bool:
        """Say whether an error takes the place of such a change."""
        return bool(self.error) and kind in {Kind.INSERT, Kind.UPDATE} and not self.is_denied

    def denies(self, kind: Kind) -> bool:
        """Say whether nothing is told of such a change. Of a DELETE whoever sees any column is told."""
        return self.is_denied or (self.columns == frozenset() and kind in {Kind.DELETE, Kind.TRUNCATE})


_WHOLE: Final = Access()
_NOTHING: Final = Access(frozenset(), is_denied=True)


class Judgement:
    """Who gets what of one table's changes.

    Attributes:
        whole: The roles that get everything as it is. None is among them: nobody in particular, where nothing
            authenticates clients. Whoever is not among them gets less, or nothing.
        refused: The roles that are told an error in place of rows.
    """

    __slots__ = ("_limited", "refused", "whole")

    def __init__(self, accesses: Mapping[str, Access]) -> None:
        self.whole: frozenset[str | None] = frozenset(
            {None, *(role for role, access in accesses.items() if access.is_whole)}
        )
        self.refused = frozenset(role for role, access in accesses.items() if access.error and not access.is_denied)
        self._limited = {role: access for role, access in accesses.items() if not access.is_whole}

    def access(self, role: str | None) -> Access:
        """Return what a role gets."""
        return _WHOLE if role in self.whole else self._limited.get(role or "", _NOTHING)


class Sights:
    """Of all roles that clients have now.

    Attributes:
        roles: Those roles.
        tables: The OIDs of the tables that are kept current.
        version: Changes with what is known.
    """

    def __init__(self) -> None:
        self.roles: dict[str, None] = {}
        self.tables: dict[int, None] = {}
        self.version = 0
        self._known: dict[tuple[str, int], tuple[int, Sight]] = {}  # with the number of the answer that said so
        self._judgements: dict[Table, Judgement] = {}

    # fast path: per change
    def judge(self, table: Table) -> Judgement:
        """Say who gets what of a table's changes."""
        judgement = self._judgements.get(table)
        return self._judge(table) if judgement is None else judgement

    def take(
        self, number: int, oids: Collection[int], roles: Iterable[str], found: Mapping[str, Mapping[int, Sight]]
    ) -> None:
        """Take an answer of the catalog's; what is missing in it is not seen. An older answer changes nothing.

        Args:
            number: Of the answer: higher for those that were asked for later.
            oids: The tables that were asked for.
            roles: The roles that were asked for.
            found: The answer, by role and table.
        """
        for role in roles:
            of_role = found.get(role, {})
            for oid in oids:
                before = self._known.get((role, oid))
                if before is None or before[0] < number:
                    self._known[role, oid] = (number, of_role.get(oid, BLIND))
        self._judgements.clear()
        self.version += 1

    def forget_table(self, oid: int) -> None:
        """Forget a table that does not exist any more."""
        self.tables.pop(oid, None)
        for role in self.roles:
            self._known.pop((role, oid), None)

    def forget(self, role: str, oids: Iterable[int]) -> None:
        """Forget what a role sees of some tables: there is no such role."""
        for oid in oids:
            self._known.pop((role, oid), None)

    def sight(self, role: str, oid: int) -> Sight | None:
        """Return what a role sees of a table; None if that has not been asked."""
        known = self._known.get((role, oid))
        return None if known is None else known[1]

    def _judge(self, table: Table) -> Judgement:
        if len(self._judgements) >= _MAX_TABLES:
            self._judgements.clear()  # tables that were announced anew leave their old selves behind
        accesses = {role: access_to(table, self.sight(role, table.relation.oid) or BLIND) for role in self.roles}
        judgement = self._judgements[table] = Judgement(accesses)
        return judgement


def access_to(table: Table, sight: Sight) -> Access:
    """Decide what a role gets that sees so much of a table.

    A table without a primary key gives errors to everybody, and one whose key a role may not read gives them to it:
    that is the realtime protocol's rule.
    """
    names = [column.name for column in table.relation.columns]
    columns = sight.columns
    if columns is not None and columns.issuperset(names):
        columns = None
    error = ""
    if not table.primary_key:
        error = NO_KEY
    elif columns is not None and not columns.issuperset(names[place] for place in table.primary_key):
        error = NOT_ALLOWED
    if columns is None and not error and not sight.is_secured:
        return _WHOLE
    return Access(columns, error, sight.is_secured)
