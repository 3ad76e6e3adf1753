"""From what is asked to the explanations: the catalog is asked, the change made or found, and each step looked at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg

from pgcast.app import target_of
from pgcast.cli.explain import steps
from pgcast.engine.decisions import Decisions
from pgcast.engine.joins import entries_of, legacy_entries_of, parse_since
from pgcast.engine.privileges import Narrowed, Privileges
from pgcast.engine.sights import Sights
from pgcast.matching.explanation import Delivery, Outcome, Step, explain
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError, DatabaseError, SettingsError
from pgcast.model.relation import Column, Relation, ReplicaIdentity
from pgcast.postgres.catalog import PostgresCatalog
from pgcast.postgres.past import find_changes
from pgcast.postgres.pool import Pool
from pgcast.postgres.publishing import look_at
from pgcast.postgres.refusals import translate
from pgcast.postgres.samples import cast_row, make_change, passes, published_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.cli.explain.asked import Asked, Row
    from pgcast.engine.ports import PublishedTable
    from pgcast.matching.explanation import Explanation
    from pgcast.matching.index import Entry
    from pgcast.model.change import Change
    from pgcast.model.relation import Table
    from pgcast.postgres.past import Wanted
    from pgcast.postgres.publishing import Subject
    from pgcast.settings import Settings

DEADLINE_S: Final = 60.0
_TIMEOUT_S: Final = 10.0
MOST_CHANGES: Final = 100


@dataclass(frozen=True, slots=True)
class Report:
    """What becomes of one change.

    Attributes:
        kind: What happened.
        place: The schema and table.
        position: Where it stands in the WAL; None for a row that was given.
        delivery: What it comes to.
        steps: In order.
    """

    kind: Kind
    place: tuple[str, str]
    position: str | None
    delivery: Delivery
    steps: tuple[Step, ...]


async def explain_all(settings: Settings, asked: Asked) -> list[Report]:
    """Explain a row, or all changes that a position or a time means; at most `MOST_CHANGES`.

    Raises:
        SettingsError: What was asked does not fit the database.
        DatabaseError: The database could not be asked.
    """
    asking = _Asking(settings, asked)
    try:
        async with asyncio.timeout(DEADLINE_S):
            if asked.wanted is not None:
                return await asking.explain_past(asked.wanted)
            return [await asking.explain_row()]
    except psycopg.Error as error:
        raise translate(error, asking.target.names(), otherwise=DatabaseError) from error
    except TimeoutError:
        raise DatabaseError(f"{asking.target}: no answer within {DEADLINE_S:g} s") from None
    finally:
        await asking.close()


class _Asking:
    """The connections, and what is asked over them."""

    def __init__(self, settings: Settings, asked: Asked) -> None:
        self.target = target_of(settings)
        self._settings = settings
        self._asked = asked
        self._publications = settings.publications
        self._catalog = PostgresCatalog(self.target, publications=settings.publications, timeout_s=_TIMEOUT_S)
        self._pool = Pool(self.target, limit=1, timeout_s=_TIMEOUT_S)
        self._sights = Sights()
        privileges = Privileges(self._catalog, self._sights)
        self._questions = self._catalog if asked.role is None else Narrowed(self._catalog, privileges, asked.role)
        self._answered = asyncio.Event()
        self._decisions = Decisions(self._catalog, self._answered.set)

    async def close(self) -> None:
        await self._decisions.close()
        await self._catalog.close()
        await self._pool.close()

    async def explain_past(self, wanted: Wanted) -> list[Report]:
        """Explain changes that the slot still holds."""
        slot = self._settings.slot_name
        changes = await find_changes(self.target, slot, self._publications, self._catalog, wanted, limit=MOST_CHANGES)
        if not changes:
            raise SettingsError(
                "--position: the slot holds no such change: it was confirmed and forgotten, or is not published",
                hint="give the row itself: --row, --old, --event",
            )
        entry, refusal = await self._entry()
        return [await self._report(entry, refusal, change, [steps.in_the_wal()]) for change in changes]

    async def explain_row(self) -> Report:
        """Explain a row that was given."""
        asked = self._asked
        entry, refusal = await self._entry()
        place = asked.place or (self._place_of_topic(entry) if asked.topic is not None else None)
        if place is None:  # there is no table to speak of, and nothing to look at further
            return Report(asked.kind, ("", ""), None, Delivery.HELD_BACK, (self._refused(refusal or ""),))
        subject = await look_at(self._pool, *place, self._publications)
        unpublished = steps.unpublished(place, subject, asked.kind, self._publications)
        if unpublished is not None or subject is None:
            shown = [unpublished] if unpublished is not None else []
            return self._stopped(place, shown, refusal)
        table = await self._table(place, subject)
        if asked.kind in {Kind.UPDATE, Kind.DELETE} and not any(column.is_key for column in table.relation.columns):
            return self._stopped(place, [steps.refused_by_postgres(place, asked.kind)], refusal)
        kind = await self._published_as(subject)
        if kind is None:
            return self._stopped(place, [steps.filtered_out(subject, asked.kind)], refusal)
        change = await self._change(subject, table, kind)
        return await self._report(entry, refusal, change, [steps.published(subject, table, kind, asked.kind)])

    def _stopped(self, place: tuple[str, str], shown: Sequence[Step], refusal: str | None) -> Report:
        """Return the report of a change that the binding never sees."""
        join = steps.accepted() if refusal is None else self._refused(refusal)
        rest = [Step(name, Outcome.SKIPPED, "the change is not published") for name in ("event", "table", "filter")]
        return Report(self._asked.kind, place, None, Delivery.HELD_BACK, (*shown, join, *rest))

    async def _entry(self) -> tuple[Entry | None, str | None]:
        """Return the entry that the server would make of the binding, or why it would refuse it."""
        asked = self._asked
        try:
            if asked.topic is not None:
                found = await legacy_entries_of(asked.topic, self._questions)
                return (
                    (found[0], None) if found else (None, "the topic's condition can never hold: nothing is ever sent")
                )
            if asked.binding is None:
                return None, asked.refusal
            if asked.binding.since is not None:
                parse_since(asked.binding.since)
            return (await entries_of([asked.binding], self._questions))[0], None
        except BindingError as error:
            return None, error.message

    def _refused(self, message: str) -> Step:
        return steps.refused(message, is_told=self._asked.topic is None)

    def _place_of_topic(self, entry: Entry | None) -> tuple[str, str]:
        if entry is not None and entry.schema is not None and entry.table is not None:
            return entry.schema, entry.table
        raise SettingsError(
            "the topic is about more than one table: which is the row's?", hint="say it with --table public.todos"
        )

    async def _table(self, place: tuple[str, str], subject: Subject) -> Table:
        """Return the table as the stream would announce it: with the published columns."""
        known = [one for one in await self._catalog.published_tables() if (one.schema, one.name) == place]
        if not known:
            raise DatabaseError(f"{self.target}: {place[0]}.{place[1]} was changed just now; try again")
        return await self._catalog.describe(_relation(known[0], subject))

    async def _published_as(self, subject: Subject) -> Kind | None:
        """Return as what the change is published, if its rows pass the row filter."""
        asked = self._asked
        kind = asked.kind
        filters = [one for one in subject.publishing(kind) if one.row_filter is not None]
        if not filters or len(filters) < len(subject.publishing(kind)):
            return kind

        async def any_passes(row: Row | None) -> bool:
            if row is None:
                return False
            for one in filters:
                missing = set(one.filter_columns) - row.columns
                if missing:
                    raise SettingsError(
                        f"{row.option}: {', '.join(sorted(missing))} is missing",
                        hint=f"the row filter of {one.name} needs it: {one.row_filter}",
                    )
            return any([await self._passes(subject, row, one.row_filter or "") for one in filters])

        # The filter of an UPDATE names only columns of the identity: without an old row, they are as they were.
        new = await any_passes(asked.new)
        return published_as(kind, new_passes=new, old_passes=await any_passes(asked.old or asked.new))

    async def _passes(self, subject: Subject, row: Row, row_filter: str) -> bool:
        try:
            return await passes(self._pool, subject.fields, row.text, row_filter)
        except BindingError as error:
            raise SettingsError(f"{row.option}: {error.message}") from error

    async def _change(self, subject: Subject, table: Table, kind: Kind) -> Change:
        """Make the change of the rows that were given."""
        asked = self._asked
        new, old = asked.new, asked.old
        if kind is Kind.DELETE and old is None:
            old = new
        published = {column.name for column in table.relation.columns}
        return make_change(
            table,
            kind,
            {} if new is None else await self._cast(subject, new, published),
            None if old is None or kind is Kind.INSERT else await self._cast(subject, old, published),
        )

    async def _cast(self, subject: Subject, row: Row, published: set[str]) -> dict[str, bytes | None]:
        unknown = row.columns - {field.name for field in subject.fields}
        if unknown:
            columns = ", ".join(field.name for field in subject.fields)
            raise SettingsError(
                f"{row.option}: the table has no column {', '.join(sorted(unknown))}", hint=f"it has {columns}"
            )
        fields = [field for field in subject.fields if field.name in row.columns & published]
        try:
            return await cast_row(self._pool, fields, row.text)
        except BindingError as error:
            raise SettingsError(f"{row.option}: {error.message}") from error

    async def _report(self, entry: Entry | None, refusal: str | None, change: Change, before: list[Step]) -> Report:
        """Explain a change that is published."""
        table = change.table
        place = (table.schema, table.name)
        is_past = self._asked.wanted is not None
        position = f"{change.transaction.position_prefix.decode()}{change.index:08x}" if is_past else None
        if entry is None:
            made = (*before, self._refused(refusal or ""))
            return Report(change.kind, place, position, Delivery.HELD_BACK, made)
        explanation = await self._explain(entry, change)
        access = self._sights.judge(table).access(self._asked.role)
        privilege = steps.privilege(self._asked.role, access, change, authenticates=self._settings.authenticates)
        made = (*before, steps.accepted(), *explanation.steps, privilege)
        is_denied = privilege.outcome is Outcome.HELD_BACK
        delivery = Delivery.HELD_BACK if is_denied else explanation.delivery
        return Report(change.kind, place, position, delivery, made)

    async def _explain(self, entry: Entry, change: Change) -> Explanation:
        while True:
            self._answered.clear()
            explanation = explain(entry, change, self._decisions)
            if explanation is not None:
                return explanation
            await self._answered.wait()


def _relation(published: PublishedTable, subject: Subject) -> Relation:
    modifiers = {field.name: field.type_modifier for field in subject.fields}
    is_full = subject.identity is ReplicaIdentity.FULL
    columns = tuple(
        Column(name, shape.oid, modifiers.get(name, -1), is_full or name in published.identity)
        for name, shape in published.columns
    )
    return Relation(published.oid, published.schema, published.name, subject.identity, columns)
