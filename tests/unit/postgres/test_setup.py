"""The plan of what is missing, from what was found: without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from pgcast.model.errors import NotPrepared
from pgcast.postgres.found import ROLES, Found, FoundMessages, FoundPublication, FoundRoutine
from pgcast.postgres.partitions import Partition
from pgcast.postgres.routines import auth_routines, realtime_routines, send_routine
from pgcast.postgres.setup import Plan, Wishes, make_plan

TODAY = date(2026, 11, 24)
FIRST = datetime.fromisoformat("2026-11-23")
BARE = Found(
    place="me@here:5432/app",
    database="app",
    role="me",
    version=180_000,
    wal_level="logical",
    today=TODAY,
    is_superuser=True,
    may_create=True,
    may_create_roles=True,
    may_bypass=True,
    roles=frozenset(),
    memberships=frozenset(),
    schemas=frozenset(),
    own_schemas=frozenset(),
    messages=None,
    partitions=(),
    routines={},
    granted=frozenset(),
    auth_granted=frozenset(),
    publications={},
    tables=frozenset(),
)
ORDINARY = replace(BARE, is_superuser=False, may_create_roles=False, may_bypass=False)
ALL_TABLES = FoundPublication(has_all_tables=True, has_inserts=True, is_owned=True, tables=frozenset())
SOME_TABLES = FoundPublication(
    has_all_tables=False, has_inserts=True, is_owned=True, tables=frozenset({("public", "todos")})
)
ROUTINES = [*realtime_routines(180_000), *auth_routines(), send_routine()]
DONE = replace(
    BARE,
    roles=frozenset(ROLES),
    schemas=frozenset({"realtime", "auth", "pgcast"}),
    own_schemas=frozenset({"realtime", "auth", "pgcast"}),
    messages=FoundMessages(is_ours=True, is_owned=True, has_row_security=True, is_usable=True, is_secured=False),
    partitions=[Partition("realtime", "p", FIRST + timedelta(days), FIRST + timedelta(days + 1)) for days in range(5)],
    routines={routine.signature: FoundRoutine(is_ours=True, body=routine.body) for routine in ROUTINES},
    granted=frozenset(ROLES),
    auth_granted=frozenset(ROLES),
    publications={"p": ALL_TABLES},
)
THEIRS = FoundMessages(is_ours=False, is_owned=False, has_row_security=True, is_usable=True, is_secured=False)
EVERYTHING = Wishes(publications=("p",), has_realtime=True, has_roles=True)


def statements(plan: Plan) -> list[str]:
    return [statement for step in plan.steps for statement in step.statements]


def plan_of(found: Found, **wishes: object) -> Plan:
    return make_plan(found, Wishes(**{"publications": ("p",), **wishes}))  # type: ignore[arg-type]


def test_without_wishes_only_the_publication_is_made():
    assert statements(plan_of(BARE)) == ['CREATE PUBLICATION "p" FOR ALL TABLES;']


def test_what_is_there_is_not_made_again():
    assert make_plan(DONE, EVERYTHING) == Plan()


def test_tables_are_named_in_a_new_publication_and_added_to_one_that_is_there():
    tables = (("public", "todos"), ("my schema", 'a"b'))
    found = replace(BARE, tables=frozenset(tables))
    assert statements(plan_of(found, tables=tables)) == [
        'CREATE PUBLICATION "p" FOR TABLE "public"."todos", "my schema"."a""b";'
    ]
    found = replace(found, publications={"p": SOME_TABLES})
    assert statements(plan_of(found, tables=tables)) == ['ALTER PUBLICATION "p" ADD TABLE "my schema"."a""b";']
    found = replace(found, publications={"p": ALL_TABLES})
    plan = plan_of(found, tables=tables)
    assert plan.steps == []
    assert plan.notes == ['publication "p" has all tables already']


def test_only_the_first_publication_is_made():
    plan = plan_of(BARE, publications=("p", "q"))
    assert statements(plan) == ['CREATE PUBLICATION "p" FOR ALL TABLES;']
    assert plan.notes == ['there is no publication "q", which PUBLICATIONS names; only the first is made here']


def test_the_messages_are_published_where_no_followed_publication_has_them():
    add = 'ALTER PUBLICATION "p" ADD TABLE "realtime"."messages";'
    found = replace(DONE, publications={"p": SOME_TABLES})
    assert statements(make_plan(found, EVERYTHING)) == [add]
    without_inserts = replace(ALL_TABLES, has_inserts=False)
    other = replace(found, publications={"p": SOME_TABLES, "q": ALL_TABLES})
    assert statements(plan_of(other, publications=("p", "q"), has_realtime=True)) == []
    other = replace(found, publications={"p": SOME_TABLES, "q": without_inserts})
    assert statements(plan_of(other, publications=("p", "q"), has_realtime=True)) == [add]


def test_the_table_of_somebody_else_is_left_alone():
    found = replace(DONE, messages=THEIRS, routines={})
    plan = make_plan(replace(found, publications={"p": SOME_TABLES}), EVERYTHING)
    assert plan.steps == []
    assert plan.notes[0].startswith("realtime.messages is there already")


def test_a_function_of_ours_that_is_out_of_date_is_replaced_and_one_of_others_is_not():
    signature = "realtime.send(jsonb, text, text, boolean)"
    old = {**DONE.routines, signature: FoundRoutine(is_ours=True, body="old")}
    assert [step.why for step in make_plan(replace(DONE, routines=old), EVERYTHING).steps] == ["function realtime.send"]
    foreign = {**DONE.routines, signature: FoundRoutine(is_ours=False, body="old")}
    plan = make_plan(replace(DONE, routines=foreign), EVERYTHING)
    assert plan.steps == []
    assert plan.notes == [f"function {signature} is there already, made by something else: it is left alone"]


def test_below_version_13_there_are_no_partitions_and_below_14_no_messages_without_a_table():
    plan = make_plan(replace(BARE, version=120_000), EVERYTHING)
    assert "PARTITION" not in "\n".join(statements(plan))
    assert any("no partitions" in note for note in plan.notes)
    plan = plan_of(replace(BARE, version=130_000), has_send=True)
    assert [step.why for step in plan.steps] == ['publication "p" of all tables']
    assert plan.notes == ["pgcast.send needs PostgreSQL 14 or newer: it is left out"]


def test_roles_are_granted_to_who_is_no_superuser():
    found = replace(ORDINARY, may_create_roles=True, may_bypass=True, tables=frozenset({("public", "todos")}))
    plan = plan_of(found, has_roles=True, tables=(("public", "todos"),))
    assert statements(plan)[3] == 'GRANT anon, authenticated, service_role TO "me";'


def test_missing_roles_are_told():
    plan = plan_of(BARE, has_realtime=True)
    assert not any("GRANT" in statement for statement in statements(plan))
    assert any("there are no roles anon, authenticated, service_role" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("found", "wishes", "said", "hint"),
    [
        (ORDINARY, {}, "only a superuser may publish all tables", "pgcast init --table"),
        (BARE, {"tables": (("public", "gone"),)}, 'no table "public"."gone"', "exact name"),
        (replace(BARE, may_create=False), {}, "may not create schemas and publications", "GRANT CREATE ON DATABASE"),
        (ORDINARY, {"has_roles": True}, "may not create the roles anon", "superuser"),
        (replace(ORDINARY, may_create_roles=True), {"has_roles": True}, "BYPASSRLS", "CREATE ROLE service_role"),
        (
            replace(BARE, schemas=frozenset({"realtime"})),
            {"has_realtime": True},
            "may not create anything in schema realtime",
            "GRANT CREATE, USAGE ON SCHEMA realtime",
        ),
        (
            replace(DONE, publications={"p": replace(SOME_TABLES, is_owned=False)}),
            {"has_realtime": True},
            "belongs to another role",
            "--dry-run",
        ),
    ],
)
def test_a_right_that_is_missing_is_said_with_what_gives_it(found: Found, wishes: dict, said: str, hint: str):
    with pytest.raises(NotPrepared) as caught:
        plan_of(found, **wishes)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_for_broadcasts_alone_no_superuser_is_needed():
    plan = plan_of(ORDINARY, has_realtime=True)
    assert statements(plan)[-1] == 'CREATE PUBLICATION "p" FOR TABLE "realtime"."messages";'
