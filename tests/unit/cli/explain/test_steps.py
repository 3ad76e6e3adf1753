from dataclasses import replace

import pytest
from making import INT8, TEXT, table

from pgcast.cli.explain import steps
from pgcast.matching.conditions import Condition
from pgcast.matching.explanation import Outcome, Step
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.model.change import Kind
from pgcast.model.relation import ReplicaIdentity
from pgcast.postgres.publishing import Field, Following, Rights, Subject

PLACE = ("public", "todos")
FIELDS = tuple(Field(name, 25, -1, "text") for name in ("id", "title", "secret"))
ALL = Following("p", ROW_KINDS, has_table=True)
SUBJECT = Subject(1, ReplicaIdentity.DEFAULT, (), FIELDS, (ALL,))
TODOS = table(id=INT8, title=TEXT)
ENTRY = Entry(1, ROW_KINDS, *PLACE)
READER = Rights(bypasses_policies=False, has_row_security=False, columns=frozenset({"id", "title"}))


def privilege(rights: Rights | None, entry: Entry = ENTRY, *, authenticates: bool = True) -> Step:
    role = None if rights is None else "reader"
    return steps.privilege(role, rights, entry, TODOS, authenticates=authenticates)


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


def test_a_role_that_was_not_named_is_no_obstacle():
    assert privilege(None, authenticates=False).outcome is Outcome.PASSED
    assert privilege(None).outcome is Outcome.SKIPPED
    secured = steps.privilege(None, None, ENTRY, replace(TODOS, has_row_security=True), authenticates=True)
    assert secured.detail == "no role was given; public.todos has row level security"


@pytest.mark.parametrize(
    ("rights", "entry", "detail"),
    [
        (replace(READER, has_row_security=True), ENTRY, "public.todos has row level security, and waits for its"),
        (replace(READER, columns=frozenset()), ENTRY, "reader may read no column of public.todos"),
        (
            replace(READER, columns=frozenset({"id"})),
            replace(ENTRY, conditions=(Condition("title", "eq", ("milk",)),)),
            "reader may not read title, which the binding names: the join is refused",
        ),
        (
            replace(READER, columns=frozenset({"id"})),
            replace(ENTRY, select=("title",)),
            "reader may not read title, which the binding names: the join is refused",
        ),
    ],
)
def test_what_a_role_may_not_see_is_held_back(rights: Rights, entry: Entry, detail: str):
    step = privilege(rights, entry)
    assert step.outcome is Outcome.HELD_BACK
    assert step.detail.startswith(detail)
    assert step.hint


def test_what_a_role_may_see_passes():
    assert privilege(READER).detail == "reader may read public.todos"
    assert (
        privilege(replace(READER, columns=frozenset({"id"}))).detail == "reader may read all of public.todos but title"
    )
    bypassing = replace(READER, has_row_security=True, bypasses_policies=True)
    assert privilege(bypassing).outcome is Outcome.PASSED


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
