"""What `pgcast init` adds to a database: looked at first, then planned, so that only what is missing is made.

The plan is made of statements that can be printed, and run by somebody else. `doctor` prints the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import NotPrepared
from pgcast.postgres.found import ROLES
from pgcast.postgres.partitions import PARTITIONS_FROM, create_statements, missing_days
from pgcast.postgres.refusals import quote_identifier, quote_literal
from pgcast.postgres.routines import MARK, MESSAGES_FROM, auth_routines, new_id, realtime_routines, send_routine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.found import Found
    from pgcast.postgres.routines import Routine


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be there.

    Attributes:
        publications: Those that are followed, unquoted; the first is made if it is missing. None: leave them alone.
        tables: What the first shall contain, as (schema, name); all tables if none is named and it is missing.
        has_realtime: Whether the schema `realtime` is wanted: broadcasts from the database, private channels.
        has_send: Whether `pgcast.send` is wanted; with the schema it comes by itself.
        has_roles: Whether the roles that clients act as are wanted.
    """

    publications: Sequence[str]
    tables: Sequence[tuple[str, str]] = ()
    has_realtime: bool = False
    has_send: bool = False
    has_roles: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Statements that belong together.

    Attributes:
        why: What they make, a few words.
        statements: Each with its semicolon.
    """

    why: str
    statements: tuple[str, ...]


@dataclass(slots=True)
class Plan:
    """What is to be run, and what somebody should know.

    Attributes:
        steps: In order; empty where nothing is missing.
        notes: What cannot be made, is left alone, or remains to be done; one line each.
    """

    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, why: str, *statements: str) -> None:
        """Append a step."""
        self.steps.append(Step(why, statements))


def make_plan(found: Found, wishes: Wishes) -> Plan:
    """Return what is missing.

    Raises:
        NotPrepared: The role may not make it, or a table is not there; the hint says what would be right.
    """
    plan = Plan()
    if wishes.has_roles:
        _plan_roles(plan, found)
    if wishes.has_realtime:
        _plan_realtime(plan, found, wishes)
    if wishes.has_send or (wishes.has_realtime and _has_own_messages(found)):
        _plan_send(plan, found, is_asked=wishes.has_send)
    if wishes.publications:
        _plan_publication(plan, found, wishes)
    if plan.steps and not found.may_create and any(_makes_in_database(step) for step in plan.steps):
        raise NotPrepared(
            f"{found.place}: role {quote_identifier(found.role)} may not create schemas and publications here",
            hint=f"as the database's owner: GRANT CREATE ON DATABASE {quote_identifier(found.database)}"
            f" TO {quote_identifier(found.role)};",
        )
    return plan


def _makes_in_database(step: Step) -> bool:
    return any(statement.startswith(("CREATE SCHEMA", "CREATE PUBLICATION")) for statement in step.statements)


def _plan_roles(plan: Plan, found: Found) -> None:
    missing = [role for role in ROLES if role not in found.roles]
    if missing and not found.may_create_roles:
        raise NotPrepared(
            f"{found.place}: role {quote_identifier(found.role)} may not create the roles {', '.join(missing)}",
            hint="run this as a superuser, or print it with --dry-run and have one run it",
        )
    if "service_role" in missing and not found.may_bypass:
        raise NotPrepared(
            f"{found.place}: role {quote_identifier(found.role)} may not give service_role the attribute BYPASSRLS",
            hint="as a superuser: CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;",
        )
    for role in missing:
        more = " BYPASSRLS" if role == "service_role" else ""
        plan.add(f"role {role}, as which clients act", f"CREATE ROLE {role} NOLOGIN NOINHERIT{more};")
    if found.is_superuser:
        return  # which may act as anybody
    foreign = [role for role in ROLES if role not in found.memberships]
    if foreign:
        plan.add("pgcast may act as these roles", f"GRANT {', '.join(foreign)} TO {quote_identifier(found.role)};")


def _plan_realtime(plan: Plan, found: Found, wishes: Wishes) -> None:
    if found.messages is not None and not found.messages.is_ours:
        plan.notes.append(
            "realtime.messages is there already, made by something else: it is left as it is;"
            " pgcast doctor says whether its broadcasts arrive"
        )
        return
    _plan_schema(plan, found, "realtime")
    if found.messages is None:
        _plan_messages(plan, found)
    elif not found.messages.has_row_security:
        plan.add("row level security", "ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;")
    if found.version >= PARTITIONS_FROM:
        for day in missing_days(found.partitions, found.today):
            plan.add(f"partition for {day}", *create_statements(day))
    elif found.messages is None:
        plan.notes.append("below version 13 realtime.messages has no partitions: the server deletes old rows instead")
    for routine in realtime_routines(found.version):
        _plan_routine(plan, found, routine)
    auth = auth_routines()
    if any(routine.signature not in found.routines for routine in auth):
        _plan_schema(plan, found, "auth")
    for routine in auth:
        _plan_routine(plan, found, routine)
    _plan_grants(plan, found, wishes)


def _plan_schema(plan: Plan, found: Found, name: str) -> None:
    if name not in found.schemas:
        plan.add(f"schema {name}", f"CREATE SCHEMA IF NOT EXISTS {name};")
    elif name not in found.own_schemas:
        raise NotPrepared(
            f"{found.place}: role {quote_identifier(found.role)} may not create anything in schema {name}",
            hint=f"as its owner: GRANT CREATE, USAGE ON SCHEMA {name} TO {quote_identifier(found.role)};",
        )


def _plan_messages(plan: Plan, found: Found) -> None:
    is_partitioned = found.version >= PARTITIONS_FROM
    partitioning = " PARTITION BY RANGE (inserted_at)" if is_partitioned else ""
    columns = _COLUMNS.replace("<new id>", new_id(found.version))
    plan.add(
        "table realtime.messages",
        f"CREATE TABLE realtime.messages (\n{columns}\n){partitioning};",
        f"COMMENT ON TABLE realtime.messages IS {quote_literal(MARK + 'messages to the clients')};",
        "ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;",
        "CREATE INDEX messages_topic_inserted_at_index ON realtime.messages (topic, inserted_at DESC)"
        " WHERE extension = 'broadcast' AND private;",
    )


_COLUMNS: Final = """\
    topic text NOT NULL,
    extension text NOT NULL,
    payload jsonb,
    event text,
    private boolean DEFAULT false,
    updated_at timestamp NOT NULL DEFAULT timezone('utc', now()),
    inserted_at timestamp NOT NULL DEFAULT timezone('utc', now()),
    id uuid NOT NULL DEFAULT <new id>,
    binary_payload bytea,
    PRIMARY KEY (id, inserted_at),
    CONSTRAINT messages_one_payload CHECK (payload IS NULL OR binary_payload IS NULL)"""


def _plan_routine(plan: Plan, found: Found, routine: Routine) -> None:
    there = found.routines.get(routine.signature)
    if there is None or (there.is_ours and there.body != routine.body):
        plan.add(f"function {routine.schema}.{routine.name}", *routine.statements())
    elif not there.is_ours:
        plan.notes.append(f"function {routine.signature} is there already, made by something else: it is left alone")


def _plan_grants(plan: Plan, found: Found, wishes: Wishes) -> None:
    roles = [role for role in ROLES if role in found.roles or wishes.has_roles]
    absent = [role for role in ROLES if role not in roles]
    if absent:
        plan.notes.append(
            f"there are no roles {', '.join(absent)}, as which clients act on private channels:"
            " pgcast init --realtime --roles makes them"
        )
    ungranted = [role for role in roles if role not in found.granted]
    if ungranted:
        names = ", ".join(ungranted)
        plan.add(
            f"rights of {names}",
            f"GRANT USAGE ON SCHEMA realtime TO {names};",
            f"GRANT SELECT, INSERT, UPDATE ON realtime.messages TO {names};",
        )
    unauthenticated = [role for role in roles if role not in found.auth_granted]
    if unauthenticated and ("auth" not in found.schemas or "auth" in found.own_schemas):
        names = ", ".join(unauthenticated)
        plan.add(f"policies may call auth.uid() for {names}", f"GRANT USAGE ON SCHEMA auth TO {names};")


def _plan_send(plan: Plan, found: Found, *, is_asked: bool) -> None:
    if found.version < MESSAGES_FROM:
        if is_asked:
            plan.notes.append("pgcast.send needs PostgreSQL 14 or newer: it is left out")
        return
    routine = send_routine()
    if routine.signature not in found.routines:
        _plan_schema(plan, found, "pgcast")
    _plan_routine(plan, found, routine)


def _plan_publication(plan: Plan, found: Found, wishes: Wishes) -> None:
    first, *others = wishes.publications
    plan.notes += [
        f"there is no publication {quote_identifier(name)}, which PUBLICATIONS names; only the first is made here"
        for name in others
        if name not in found.publications
    ]
    missing = [table for table in wishes.tables if table not in found.tables]
    if missing:
        raise NotPrepared(
            f"{found.place}: no table {', '.join(map(_quoted, missing))}",
            hint="--table takes a table's exact name, as schema.table or, in the schema public, as table",
        )
    publication = found.publications.get(first)
    needs_messages = wishes.has_realtime and _has_own_messages(found) and not _publishes_messages(found, wishes)
    if publication is None:
        _plan_new_publication(plan, found, wishes, needs_messages=needs_messages)
        return
    if publication.has_all_tables:
        if wishes.tables:
            plan.notes.append(f"publication {quote_identifier(first)} has all tables already")
        return
    added = [table for table in wishes.tables if table not in publication.tables]
    if needs_messages:
        added.append(("realtime", "messages"))
    if not added:
        return
    if not publication.is_owned:
        raise NotPrepared(
            f"{found.place}: publication {quote_identifier(first)} belongs to another role, so"
            f" {quote_identifier(found.role)} may not add tables",
            hint="print the SQL with --dry-run, and run it as a superuser",
        )
    plan.add(
        f"published: {', '.join(map(_quoted, added))}",
        *(f"ALTER PUBLICATION {quote_identifier(first)} ADD TABLE {_quoted(table)};" for table in added),
    )


def _plan_new_publication(plan: Plan, found: Found, wishes: Wishes, *, needs_messages: bool) -> None:
    name = quote_identifier(wishes.publications[0])
    if not wishes.tables and found.is_superuser:
        plan.add(f"publication {name} of all tables", f"CREATE PUBLICATION {name} FOR ALL TABLES;")
        return
    tables = [*wishes.tables, *([("realtime", "messages")] if needs_messages else [])]
    if not tables:
        raise NotPrepared(
            f"{found.place}: there is no publication {name}, and only a superuser may publish all tables",
            hint="name those that clients may follow: pgcast init --table public.todos --table public.users",
        )
    plan.add(f"publication {name}", f"CREATE PUBLICATION {name} FOR TABLE {', '.join(map(_quoted, tables))};")


def _has_own_messages(found: Found) -> bool:
    return found.messages is None or found.messages.is_ours


def _publishes_messages(found: Found, wishes: Wishes) -> bool:
    followed = [found.publications[name] for name in wishes.publications if name in found.publications]
    return any(
        publication.has_inserts and (publication.has_all_tables or ("realtime", "messages") in publication.tables)
        for publication in followed
    )


def _quoted(table: tuple[str, str]) -> str:
    schema, name = table
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"
