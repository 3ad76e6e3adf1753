"""`pgcast init` on a real database: what it makes, that it makes nothing twice, and how the functions behave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from fix_messages import initialize
from pgcast.model.errors import NotPrepared
from pgcast.postgres.connection import parse_target

ROOT = Path(__file__).parents[3]


def run(dsn, *options, **settings):
    environment = {**os.environ, "DATABASE_URL": dsn, **settings}
    return subprocess.run(
        [sys.executable, "-m", "pgcast", "init", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def warnings_of(database, statement, *parameters):
    """Run a statement; return what Postgres warned of."""
    said = []
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
        connection.execute(statement, parameters)
    return said


def stored(database):
    return database.execute(
        "select topic, extension, event, payload - 'id', private, binary_payload from realtime.messages order by 3"
    )


def test_it_makes_what_is_missing_once(database):
    first = run(database.dsn, "--realtime")
    assert first.returncode == 0, first.stderr
    assert "made  table realtime.messages" in first.stdout
    assert 'made  publication "supabase_realtime" of all tables' in first.stdout
    again = run(database.dsn, "--realtime")
    assert (again.returncode, "made" in again.stdout) == (0, False)
    assert again.stdout.endswith("nothing is missing\n")


def test_a_dry_run_prints_a_script_that_does_the_same(database):
    printed = run(database.dsn, "--realtime", "--dry-run")
    assert printed.returncode == 0
    assert database.execute("select count(*) from pg_publication") == [(0,)]
    assert database.execute("select to_regclass('realtime.messages')") == [(None,)]
    database.execute(printed.stdout)
    assert initialize(database.dsn, has_realtime=True).steps == []
    assert run(database.dsn, "--realtime", "--dry-run").stdout == "-- nothing is missing\n"


def test_tables_are_published_by_name(database):
    database.execute('create table "Odd, name" (a int primary key); create table todos (a int primary key)')
    made = run(database.dsn, "--table", "todos")
    assert made.returncode == 0, made.stderr
    assert run(database.dsn, "--table", 'public."Odd, name"', "--table", "todos").returncode == 0
    names = database.execute("select tablename from pg_publication_tables order by 1")
    assert names == [("Odd, name",), ("todos",)]
    wrong = run(database.dsn, "--table", "nothing")
    assert wrong.returncode == 1
    assert 'no table "public"."nothing"' in wrong.stderr
    wrong = run(database.dsn, "--table", "public.*")
    assert wrong.returncode == 2


def test_a_failure_leaves_nothing_behind(database):
    database.execute("create schema realtime; create view realtime.messages as select 1")
    with pytest.raises(Exception, match="already exists"):
        initialize(database.dsn, has_realtime=True)
    assert database.execute("select count(*) from pg_publication") == [(0,)]


def test_the_table_of_somebody_else_stays_as_it_is(database):
    database.execute("create schema realtime; create table realtime.messages (topic text, inserted_at timestamp)")
    plan = initialize(database.dsn, has_realtime=True)
    assert any("left as it is" in note for note in plan.notes)
    assert database.execute("select count(*) from pg_attribute where attrelid = 'realtime.messages'::regclass"
                            " and attnum > 0") == [(2,)]  # fmt: skip
    assert database.execute("select to_regprocedure('realtime.send(jsonb, text, text, boolean)')") == [(None,)]


def test_send_stores_a_message_with_its_id(initialized):
    initialized.execute("""select realtime.send('{"a": 1}', '1', 'room')""")
    initialized.execute("""select realtime.send('{"id": 7}', '2', 'room', false)""")
    initialized.execute("""select realtime.send('[1]', '3', 'room')""")
    initialized.execute(r"select realtime.send_binary('\x00ff', '4', 'room')")
    ids = "select payload ->> 'id', id::text from realtime.messages where event in ('1', '2') order by event"
    (mine, row), (theirs, _) = initialized.execute(ids)
    assert (mine, theirs) == (row, "7")
    query = "select event, extension, topic, private, payload is null, binary_payload from realtime.messages order by 1"
    assert initialized.execute(query) == [
        ("1", "broadcast", "room", True, False, None),
        ("2", "broadcast", "room", False, False, None),
        ("3", "broadcast", "room", True, False, None),
        ("4", "broadcast", "room", True, True, b"\x00\xff"),
    ]


def test_send_sets_the_topic_for_the_transaction(initialized):
    with initialized.connect() as connection:
        connection.execute("begin")
        connection.execute("select realtime.send('{}', 'e', 'room:1')")
        assert connection.execute("select realtime.topic()").fetchall() == [("room:1",)]
        connection.execute("commit")
        assert connection.execute("select realtime.topic()").fetchall() == [(None,)]


def test_what_cannot_be_sent_is_a_warning_and_breaks_nothing(initialized):
    (said,) = warnings_of(initialized, "select realtime.send('{}', 'e', null)")
    assert said.startswith("WarnSendingBroadcastMessage: null value in column")
    (said,) = warnings_of(initialized, "select realtime.send_binary('x', 'e', null)")
    assert said.startswith("WarnSendingBroadcastMessage: null value in column")


@pytest.mark.postgres(14, why="pgcast.send is not made")
def test_a_message_without_a_table_that_lacks_something_is_a_warning(initialized):
    (said,) = warnings_of(initialized, "select pgcast.send('room', 'e', null)")
    assert said == "WarnSendingBroadcastMessage: topic, event and payload must not be null"


TRIGGER = """
    create table items (id int primary key, title text);
    create function tell() returns trigger language plpgsql as $$ begin
        if tg_op = 'INSERT' then
            perform realtime.broadcast_changes(
                'item:' || new.id, tg_op, tg_op, tg_table_name, tg_table_schema, new, null);
        elsif tg_op = 'DELETE' then
            perform realtime.broadcast_changes(
                'item:' || old.id, tg_op, tg_op, tg_table_name, tg_table_schema, null, old);
        else
            perform realtime.broadcast_changes(
                'item:' || new.id, tg_op, tg_op, tg_table_name, tg_table_schema, new, old, tg_level);
        end if;
        return null;
    end $$;
    create trigger tell after insert or update or delete on items for each row execute procedure tell();
"""


def test_changes_are_broadcast_from_a_trigger(initialized):
    initialized.execute(TRIGGER)
    initialized.execute("insert into items values (1, 'a')")
    initialized.execute("update items set title = 'b'")
    initialized.execute("delete from items")
    common = {"schema": "public", "table": "items"}
    one, other = {"id": 1, "title": "a"}, {"id": 1, "title": "b"}
    assert [row[:5] for row in stored(initialized)] == [
        ("item:1", "broadcast", "DELETE", {**common, "operation": "DELETE", "record": None, "old_record": other}, True),
        ("item:1", "broadcast", "INSERT", {**common, "operation": "INSERT", "record": one, "old_record": None}, True),
        ("item:1", "broadcast", "UPDATE", {**common, "operation": "UPDATE", "record": other, "old_record": one}, True),
    ]


@pytest.mark.postgres(11, why="a trigger is made with another word, and NEW cannot be missing")
def test_the_example_of_a_trigger_works(initialized):
    initialized.execute("create table messages (id int primary key, room_id int, text text)")
    initialized.execute((ROOT / "examples/sql/broadcast-changes.sql").read_text())
    initialized.execute("insert into messages values (1, 7, 'a')")
    initialized.execute("delete from messages")
    assert [(topic, event, private) for topic, _, event, _, private, _ in stored(initialized)] == [
        ("room:7", "DELETE", True),
        ("room:7", "INSERT", True),
    ]


@pytest.mark.parametrize(
    ("operation", "level", "said"),
    [
        ("INSERT", "STATEMENT", "function can only be triggered for each row, not for each statement"),
        ("TRUNCATE", "ROW", "Unexpected operation type: TRUNCATE"),
    ],
)
def test_misuse_of_broadcast_changes_is_an_error(initialized, operation, level, said):
    initialized.execute("create table items (id int)")
    statement = "select realtime.broadcast_changes('t', 'e', %s, 'a', 'b', null::items, null::items, %s)"
    with pytest.raises(psycopg.errors.RaiseException) as caught:
        initialized.execute(statement, [operation, level])
    assert caught.value.diag.message_primary == f"Failed to process the row: {said}"


def test_policies_may_ask_who_somebody_is(initialized):
    who = "0d1c4a1e-0000-4000-8000-000000000001"
    with initialized.connect() as connection:
        nobody = connection.execute("select auth.uid(), auth.jwt(), auth.role()").fetchone()
        assert nobody == (None, None, None)
        connection.execute("select set_config('request.jwt.claims', %s, false)", [f'{{"sub":"{who}","role":"anon"}}'])
        uid, claims, role = connection.execute("select auth.uid()::text, auth.jwt(), auth.role()").fetchone()
        assert (uid, claims["sub"], role) == (who, who, "anon")


@pytest.fixture
def owner(own_cluster, empty_template):
    """The DSN of a role that owns its database and is no superuser, and the cluster."""
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("create role owner login createrole password 'owner'")
        connection.execute("create database mine owner owner")
        if connection.info.server_version >= 160_000:
            connection.execute("alter role owner bypassrls")
    target = parse_target(cluster.dsn("mine"))
    return cluster, f"host={target.host} port={target.port} dbname=mine user=owner password=owner"


def test_an_owner_who_is_no_superuser_gets_it_too(owner, postgres_version):
    cluster, dsn = owner
    with pytest.raises(NotPrepared, match="only a superuser may publish all tables"):
        initialize(dsn)
    if postgres_version >= 16:
        initialize(dsn, has_realtime=True, has_roles=True)
    else:
        with cluster.connect("mine") as connection:
            connection.execute("create role service_role nologin bypassrls")
        initialize(dsn, has_realtime=True, has_roles=True)
    assert initialize(dsn, has_realtime=True, has_roles=True).steps == []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for role in ("anon", "authenticated", "service_role"):
            connection.execute(f"set role {role}")
            connection.execute("select count(*) from realtime.messages")
            connection.execute("select auth.uid(), realtime.topic()")
            connection.execute("reset role")
        connection.execute("set role anon")
        said = []
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary))
        connection.execute("select realtime.send('{}', 'e', 'room')")
        assert "row-level security" in said[0], "no policy lets anon send"


def test_a_right_that_is_missing_is_named(own_cluster):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("create role guest login password 'guest'")
        connection.execute("create database theirs")
    target = parse_target(cluster.dsn("theirs"))
    dsn = f"host={target.host} port={target.port} dbname=theirs user=guest password=guest"
    refused = run(dsn, "--realtime")
    assert refused.returncode == 1
    assert "may not create schemas and publications here" in refused.stderr
    assert 'GRANT CREATE ON DATABASE "theirs" TO "guest";' in refused.stderr


def test_without_logical_wal_it_says_what_else_is_needed(own_cluster):
    cluster = own_cluster(settings={"wal_level": "replica"})
    plan = initialize(cluster.dsn("postgres"))
    assert plan.notes == ["wal_level is replica: ALTER SYSTEM SET wal_level = 'logical'; and restart Postgres"]
