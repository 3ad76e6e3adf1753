"""The steps that the catalog decides: is a change of a table published at all, and may a role see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgcast.matching.explanation import Outcome, Step
from pgcast.postgres.refusals import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.engine.sights import Access
    from pgcast.model.change import Change, Kind
    from pgcast.model.relation import Table
    from pgcast.postgres.publishing import Subject

    Place = tuple[str, str]

_IN_THE_WAL = "it stands in the WAL, as the publications let it through"


def unpublished(place: Place, subject: Subject | None, kind: Kind, publications: Sequence[str]) -> Step | None:
    """Return the step of a change that is not published, whatever its row; None if it is."""
    name = f"{place[0]}.{place[1]}"
    if subject is None:
        return _held_back(f"there is no table {name}", "names are exact, upper and lower case too")
    missing = set(publications) - {one.name for one in subject.following}
    if missing:
        listed = ", ".join(map(quote_identifier, sorted(missing)))
        return _held_back(f"there is no publication {listed}", "without it the server does not start")
    containing = [one for one in subject.following if one.has_table]
    if not containing:
        if subject.roots:
            roots = " and ".join(subject.roots)
            return _held_back(f"{name} is published as a part of {roots}", f"its changes come as those of {roots}")
        listed = ", ".join(map(quote_identifier, publications))
        target = f"{quote_identifier(place[0])}.{quote_identifier(place[1])}"
        return _held_back(
            f"{name} is in none of the followed publications: {listed}",
            f"ALTER PUBLICATION {quote_identifier(publications[0])} ADD TABLE {target};",
        )
    if not subject.publishing(kind):
        listed = ", ".join(quote_identifier(one.name) for one in containing)
        first = quote_identifier(containing[0].name)
        return _held_back(
            f"{kind.value} is not among the actions that {listed} publishes",
            f"ALTER PUBLICATION {first} SET (publish = 'insert, update, delete, truncate');",
        )
    return None


def published(subject: Subject, table: Table, kind: Kind, was: Kind) -> Step:
    """Return the step of a change that is published.

    Args:
        subject: The table.
        table: The table, with the columns that are published.
        kind: As what the change is published.
        was: What happened.
    """
    names = " and ".join(one.name for one in subject.publishing(was))
    detail = f"{names} publishes it"
    if kind is not was:
        detail += f", as {kind.value}: only one of the two rows passes the row filter"
    columns = {column.name for column in table.relation.columns}
    left_out = [field.name for field in subject.fields if field.name not in columns]
    if left_out:
        detail += f", without {', '.join(left_out)}"
    return Step("publication", Outcome.PASSED, detail)


def filtered_out(subject: Subject, kind: Kind) -> Step:
    """Return the step of a change whose row passes no row filter."""
    filters = " or ".join(f"{one.row_filter} ({one.name})" for one in subject.publishing(kind))
    return _held_back(f"the row does not pass the publication's row filter: {filters}")


def refused_by_postgres(place: Place, kind: Kind) -> Step:
    """Return the step of an UPDATE or DELETE of a table that has no replica identity."""
    target = f"{quote_identifier(place[0])}.{quote_identifier(place[1])}"
    return _held_back(
        f"Postgres refuses {kind.value}: the table is published, and has no replica identity",
        f"give it a primary key, or ALTER TABLE {target} REPLICA IDENTITY FULL;",
    )


def in_the_wal() -> Step:
    """Return the step of a change that was found in the WAL."""
    return Step("publication", Outcome.PASSED, _IN_THE_WAL)


def refused(message: str, *, is_told: bool = True) -> Step:
    """Return the step of a join that is refused.

    Args:
        message: Why.
        is_told: Whether the client gets this message.
    """
    hint = "the client was told this in a `system` message with status `error`" if is_told else ""
    return Step("join", Outcome.HELD_BACK, message, hint)


def accepted() -> Step:
    """Return the step of a join that is accepted."""
    return Step("join", Outcome.PASSED, "the binding can be served")


def privilege(role: str | None, access: Access, change: Change, *, authenticates: bool) -> Step:
    """Return the step of what a role may see.

    Args:
        role: As whom; None if that was not said.
        access: What the role gets of the table's changes.
        change: The change.
        authenticates: Whether clients need a token, and with it a role.
    """
    table = change.table
    name = f"{table.schema}.{table.name}"
    if role is None:
        if not authenticates:
            return _privilege(Outcome.PASSED, "clients need no token here, so they have no role to be asked about")
        secured = f"; {name} has row level security" if table.has_row_security else ""
        return _privilege(Outcome.SKIPPED, f"no role was given{secured}", "say with --role as whom")
    grant = (
        f"GRANT SELECT ON {quote_identifier(table.schema)}.{quote_identifier(table.name)} TO {quote_identifier(role)};"
    )
    if access.is_denied:
        return _privilege(
            Outcome.HELD_BACK,
            f"{name} has row level security, and waits for its policies: only roles that bypass them get its changes",
            f"{role} does not; a role with BYPASSRLS does, as service_role is one",
        )
    if access.denies(change.kind):
        return _privilege(Outcome.HELD_BACK, f"{role} may read no column of {name}", grant)
    if access.refuses(change.kind):
        detail = f"in place of the row, and whatever its filter says, the client gets `{access.error}`"
        return _privilege(Outcome.HELD_BACK, detail, grant if table.primary_key else "give the table a primary key")
    columns = [column.name for column in table.relation.columns]
    left_out = [] if access.columns is None else [column for column in columns if column not in access.columns]
    read = f"all of {name} but {', '.join(left_out)}" if left_out else name
    return _privilege(Outcome.PASSED, f"{role} may read {read}")


def _privilege(outcome: Outcome, detail: str, hint: str = "") -> Step:
    return Step("privilege", outcome, detail, hint)


def _held_back(detail: str, hint: str = "") -> Step:
    return Step("publication", Outcome.HELD_BACK, detail, hint)
