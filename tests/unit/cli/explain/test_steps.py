from dataclasses import replace

import pytest
from making import INT8, TEXT, change, table, transaction

from pgcast.cli.explain import steps
from pgcast.engine.sights import NO_KEY, NOT_ALLOWED, Access
from pgcast.matching.explanation import Outcome, Step
from pgcast.matching.index import ROW_KINDS
from pgcast.model.change import Kind
from pgcast.model.relation import ReplicaIdentity, Table
from pgcast.postgres.publishing import Field, Following, Subject

PLACE = ("public", "todos")
FIELDS = tuple(Field(name, 25, -1, "text") for name in ("id", "title", "secret"))
ALL = Following("p", ROW_KINDS, has_table=True)
SUBJECT = Subject(1, ReplicaIdentity.DEFAULT, (), FIELDS, (ALL,))
TODOS = table(id=INT8, title=TEXT)
TX = transaction(100)


@pytest.mark.parametrize(
    ("subject", "detail", "hint"),
    [
        (None, "there is no table public.todos", "names are exact"),
        (replace(SUBJECT, following=()), 'there is no publication "p"', "does not start"),
        (
            replace(SUBJECT, following=(replace(ALL, has_table=False),)),
            'public.todos is in none of the followed publications: "p"',
            'ALTER PUBLICATION "p" ADD TABLE "public"."todos";',
        ),
        (
            replace(SUBJECT, following=(replace(ALL, has_table=False),), roots=("public.events",)),
            "public.todos is published as a part of public.events",
            "its changes come as those of public.events",
        ),
        (
            replace(SUBJECT, following=(replace(ALL, actions=frozenset({Kind.UPDATE})),)),
            'INSERT is not among the actions that "p" publishes',
            'ALTER PUBLICATION "p" SET (publish =',
        ),
    ],
)
def test_why_a_change_is_not_published(subject: Subject | None, detail: str, hint: str):
    step = steps.unpublished(PLACE, subject, Kind.INSERT, ["p"])
    assert step is not None
    assert (step.name, step.outcome, step.detail) == ("publication", Outcome.HELD_BACK, detail)
    assert hint in step.hint


def test_what_is_published_says_by_whom_and_what_is_left_out():
    assert steps.unpublished(PLACE, SUBJECT, Kind.INSERT, ["p"]) is None
    assert steps.published(SUBJECT, TODOS, Kind.INSERT, Kind.INSERT).detail == "p publishes it, without secret"
    detail = steps.published(SUBJECT, TODOS, Kind.DELETE, Kind.UPDATE).detail
    assert detail == "p publishes it, as DELETE: only one of the two rows passes the row filter, without secret"


def test_a_row_filter_that_holds_back_is_named():
    some = replace(SUBJECT, following=(replace(ALL, row_filter="(id > 1)"), replace(ALL, name="q", row_filter="false")))
    assert steps.filtered_out(some, Kind.INSERT).detail.endswith("(id > 1) (p) or false (q)")


def privilege(access: Access, kind: Kind = Kind.INSERT, on: Table = TODOS) -> Step:
    return steps.privilege("reader", access, change(TX, on=on, kind=kind), authenticates=True)


def test_a_role_that_was_not_named_is_no_obstacle():
    made = change(TX, on=TODOS)
    assert steps.privilege(None, Access(), made, authenticates=False).outcome is Outcome.PASSED
    assert steps.privilege(None, Access(), made, authenticates=True).outcome is Outcome.SKIPPED
    secured = change(TX, on=replace(TODOS, has_row_security=True))
    detail = steps.privilege(None, Access(), secured, authenticates=True).detail
    assert detail == "no role was given; public.todos has row level security"


@pytest.mark.parametrize(
    ("access", "kind", "detail", "hint"),
    [
        (Access(is_denied=True), Kind.INSERT, "public.todos has row level security, and waits for its", "BYPASSRLS"),
        (Access(frozenset(), NOT_ALLOWED), Kind.DELETE, "reader may read no column of public.todos", "GRANT SELECT"),
        (Access(frozenset(), NOT_ALLOWED), Kind.UPDATE, "in place of the row", "GRANT SELECT"),
    ],
)
def test_what_a_role_may_not_see_is_held_back(access: Access, kind: Kind, detail: str, hint: str):
    step = privilege(access, kind)
    assert step.outcome is Outcome.HELD_BACK
    assert step.detail.startswith(detail)
    assert hint in step.hint


def test_a_table_without_a_key_is_told_apart():
    step = privilege(Access(None, NO_KEY), on=replace(TODOS, primary_key=()))
    assert "Error 400" in step.detail
    assert step.hint == "give the table a primary key"


def test_what_a_role_may_see_passes():
    assert privilege(Access()).detail == "reader may read public.todos"
    assert privilege(Access(frozenset({"id"}))).detail == "reader may read all of public.todos but title"
    assert privilege(Access(frozenset({"id"}), NOT_ALLOWED), Kind.DELETE).outcome is Outcome.PASSED


def test_the_other_steps():
    assert steps.in_the_wal().outcome is Outcome.PASSED
    assert steps.accepted().outcome is Outcome.PASSED
    assert (steps.refused("no such column").outcome, steps.refused("no such column").detail) == (
        Outcome.HELD_BACK,
        "no such column",
    )
    assert steps.refused("no such column").hint
    assert not steps.refused("it can never hold", is_told=False).hint
    assert "REPLICA IDENTITY FULL" in steps.refused_by_postgres(PLACE, Kind.DELETE).hint
