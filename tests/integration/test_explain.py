"""`pgcast explain` says what a server does: for rows that are given, and for changes of the past."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fix_node import Node, NodeFactory, clean_environment
from fix_policies import ROLES
from minting import SECRET, mint
from pgcast.cli.explain.asked import read_asked
from pgcast.cli.explain.asking import Report, explain_all
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from pgcast.matching.explanation import Delivery, Outcome, Step
from pgcast.model.change import Kind
from pgcast.model.errors import NotPrepared, SettingsError, SlotBusy
from pgcast.settings import read_settings
from realtime_client import RealtimeClient

TODOS = {"event": "*", "schema": "public", "table": "todos"}
MILK = json.dumps({**TODOS, "filter": "title=eq.milk"})

copied = pytest.mark.postgres(12, why="a slot that is followed can be copied from version 12 on")


async def reports_on(database: Database, binding: str, *, slot: str = "none", **options: Any) -> list[Report]:
    settings = read_settings({"DATABASE_URL": database.dsn, "SLOT_NAME": slot})
    return await explain_all(settings, read_asked(binding, **options))


async def report_on(database: Database, binding: str, **options: Any) -> Report:
    (report,) = await reports_on(database, binding, **options)
    return report


def step(report: Report, name: str) -> Step:
    (found,) = [one for one in report.steps if one.name == name]
    return found


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgcast", "explain", *arguments],
        env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


@copied
async def test_what_is_explained_of_the_past_is_what_was_delivered(node: Node, published: Database):
    published.execute("alter table todos replica identity full; create table notes (id int primary key)")
    bindings = [
        {**TODOS, "filter": "title=match.^m", "leave": True},
        {**TODOS, "event": "UPDATE", "filter": "or=(title.eq.tea,done.is.true)"},
        {**TODOS, "event": "DELETE", "filter": "title=not.eq.milk"},
        {"event": "*", "schema": "*", "table": "notes"},
    ]
    async with RealtimeClient(node.url) as client:
        response = await client.join("realtime:room", *bindings)
        ids = [echo["id"] for echo in response["postgres_changes"]]
        await client.join("realtime:all", {"event": "*", "schema": "*"})
        published.execute("insert into todos values (1, 'milk'), (2, null)")
        published.execute("update todos set title = 'tea'")
        published.execute("truncate notes; insert into notes values (1)")
        published.execute("delete from todos where id = 1")
        published.execute("insert into notes values (2)")
        told: dict[str, dict[int, bool]] = {}
        positions: list[str] = []
        finished: set[str] = set()  # the two channels are not in step
        while len(finished) < 2:
            message = await client.receive_until(lambda one: one["event"] == "postgres_changes")
            data = message["payload"]["data"]
            if data["table"] == "notes" and data["record"] == {"id": 2}:
                finished.add(message["topic"])
            if message["topic"] == "realtime:all":
                positions.append(data["position"])
            else:
                left = data.get("left", False)
                told.setdefault(data["position"], {}).update(dict.fromkeys(message["payload"]["ids"], left))
        assert len(positions) == 7
    slot = node.environment["SLOT_NAME"]
    for position in positions:
        for one, binding in zip(ids, bindings, strict=True):
            report = await report_on(published, json.dumps(binding), slot=slot, position=position)
            is_left = told.get(position, {}).get(one)
            expected = {None: Delivery.HELD_BACK, False: Delivery.DELIVERED, True: Delivery.LEFT}[is_left]
            assert (report.delivery, report.position) == (expected, position), binding
    assert {one for each in told.values() for one in each} == set(ids)
    assert published.execute("select slot_name, active from pg_replication_slots") == [(slot, True)]


@copied
async def test_what_a_role_gets_is_what_is_explained(cluster: Cluster, published: Database, start_node: NodeFactory):
    with cluster.connect() as connection:
        connection.execute(ROLES)
    published.execute("""
        create table closed (id int8 primary key); create table guarded (id int8 primary key);
        alter table guarded enable row level security;
        grant usage on schema public to anon, service_role; grant select on all tables in schema public to service_role;
        grant select (id, title) on todos to anon; grant select on guarded to anon
    """)
    node = start_node(published.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")
    everything = {"event": "*", "schema": "public"}
    async with (
        RealtimeClient(node.url, apikey=mint("anon")) as anon,
        RealtimeClient(node.url, apikey=mint("service_role")) as service,
    ):
        for client in (anon, service):
            await client.join("realtime:room", everything)
        for table in ("closed", "guarded", "todos"):
            published.execute(f"insert into {table} values (1); delete from {table}")
        whole = await service.changes(6)
        told = {change["position"]: change["errors"] for change in await anon.changes(3)}
    slot = node.environment["SLOT_NAME"]
    for change in whole:
        options = {"slot": slot, "position": change["position"]}
        report = await report_on(published, json.dumps(everything), role="anon", **options)
        is_delivered = change["position"] in told and told[change["position"]] is None
        assert report.delivery is (Delivery.DELIVERED if is_delivered else Delivery.HELD_BACK), change
        error = (told.get(change["position"]) or [""])[0]
        assert error in step(report, "privilege").detail
        report = await report_on(published, json.dumps(everything), role="service_role", **options)
        assert report.delivery is Delivery.DELIVERED
    assert [errors for errors in told.values() if errors] == [["Error 401: Unauthorized"]]


@copied
async def test_a_commit_timestamp_means_the_changes_of_its_transactions(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:all", TODOS)
        published.execute("insert into todos values (1, 'milk'), (2, 'tea')")
        (first, _) = await client.changes(2)
    slot = node.environment["SLOT_NAME"]
    reports = await reports_on(published, MILK, slot=slot, position=first["commit_timestamp"])
    assert [report.delivery for report in reports] == [Delivery.DELIVERED, Delivery.HELD_BACK]
    assert reports[0].position == first["position"]
    with pytest.raises(SettingsError, match="the slot holds no such change"):
        await reports_on(published, MILK, slot=slot, position="2020-01-02T03:04:05.678Z")
    with pytest.raises(SettingsError, match="the slot holds no such change"):
        await reports_on(published, MILK, slot=slot, position=f"{first['position'][:-8]}00000009")


async def test_a_position_that_cannot_be_looked_up_is_said(published: Database):
    slot = f"explained_{published.name}"
    await_position = {"slot": slot, "position": "00000000-0000000000000001-00000000"}
    with pytest.raises(NotPrepared, match="is one of another database; here they begin with ") as caught:
        await report_on(published, MILK, **await_position)
    epoch = caught.value.message[-8:]
    position = f"{epoch}-0000000000000001-00000000"
    with pytest.raises(NotPrepared, match="there is no replication slot"):
        await report_on(published, MILK, slot=slot, position=position)
    published.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    with pytest.raises(NotPrepared, match="is held no longer") as caught:
        await report_on(published, MILK, slot=slot, position=position)
    assert "--row" in caught.value.hint


@pytest.mark.postgres(10, last=11, why="a slot can be copied from version 12 on")
async def test_a_followed_slot_that_cannot_be_copied_is_said(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:all", TODOS)
        published.execute("insert into todos values (1, 'milk')")
        (change,) = await client.changes(1)
    options = {"slot": node.environment["SLOT_NAME"], "position": change["position"]}
    with pytest.raises(SlotBusy, match="is followed") as caught:
        await report_on(published, MILK, **options)
    assert "stop the server" in caught.value.hint
    node.kill()
    assert (await report_on(published, MILK, **options)).delivery is Delivery.DELIVERED


@pytest.mark.parametrize(
    ("binding", "options", "delivery", "by"),
    [
        (MILK, {"row": '{"id": 1, "title": "milk"}'}, Delivery.DELIVERED, None),
        (MILK, {"row": '{"id": 1, "title": "tea"}'}, Delivery.HELD_BACK, "filter"),
        (MILK, {"row": '{"id": 1}'}, Delivery.HELD_BACK, "filter"),
        (MILK, {"old": '{"id": 1, "title": "milk"}'}, Delivery.HELD_BACK, "filter"),
        (MILK, {"row": '{"id": 1, "title": "milk"}', "table": "notes"}, Delivery.HELD_BACK, "publication"),
        (json.dumps({**TODOS, "event": "UPDATE"}), {"row": '{"id": 1}'}, Delivery.HELD_BACK, "event"),
        (json.dumps({**TODOS, "filter": "nope=eq.1"}), {"row": '{"id": 1}'}, Delivery.HELD_BACK, "join"),
        (json.dumps({**TODOS, "filter": "title=match.("}), {"row": '{"id": 1}'}, Delivery.HELD_BACK, "join"),
        (json.dumps({**TODOS, "since": "nope"}), {"row": '{"id": 1}'}, Delivery.HELD_BACK, "join"),
        ("{}", {"row": '{"id": 1}'}, Delivery.HELD_BACK, "join"),
        ("public:todos:id=eq.7", {"row": '{"id": 7}'}, Delivery.DELIVERED, None),
        ("public:todos:id=eq.7", {"row": '{"id": 8}'}, Delivery.HELD_BACK, "filter"),
        ("realtime:*", {"row": '{"id": 8}', "table": "todos"}, Delivery.DELIVERED, None),
        ("public:todos:nope", {"row": '{"id": 8}', "table": "todos"}, Delivery.HELD_BACK, "join"),
    ],
)
async def test_a_row_is_explained(
    published: Database, binding: str, options: dict[str, str], delivery: Delivery, by: str | None
):
    report = await report_on(published, binding, **options)
    assert report.delivery is delivery
    if by is not None:
        assert step(report, by).outcome is Outcome.HELD_BACK
        assert step(report, by).detail


async def test_the_binding_s_table_comes_before_the_row_s_table(published: Database):
    published.execute("create table notes (id int primary key)")
    report = await report_on(published, json.dumps(TODOS), row='{"id": 1}', table="notes")
    assert step(report, "table").detail == "public.notes, and wanted is public.todos"
    assert step(report, "filter").outcome is Outcome.SKIPPED


async def test_values_are_what_the_stream_would_carry(database: Database):
    database.execute("create type mood as enum ('sad', 'glad'); create domain tiny as numeric check (value < 5)")
    database.execute(
        "create table t (id int primary key, price numeric(6, 2), code char(4), tags text[], feeling mood,"
        " small tiny, data json, at timestamptz)"
    )
    database.execute("create publication supabase_realtime for all tables")
    row = (
        '{"id": 1, "price": 9.5, "code": "ab", "tags": ["a b", null], "feeling": "glad", "small": 4.50,'
        ' "data": {"b":  1}, "at": "2026-01-02T03:04:05+02:00"}'
    )
    conditions = [
        *("price=eq.9.50", 'code=eq."ab  "', 'tags=eq."{\\"a b\\",NULL}"', "feeling=gt.sad", "small=lt.4.9"),
        *("data->>b=eq.1", "at=eq.2026-01-02T01:04:05Z"),
    ]
    binding = json.dumps({"schema": "public", "table": "t", "filter": ",".join(conditions)})
    report = await report_on(database, binding, row=row)
    assert report.delivery is Delivery.DELIVERED
    judged = {one.text.partition("=")[0]: one for one in step(report, "filter").conditions}
    assert (judged["price"].value, judged["code"].value) == (b"9.50", b"ab  ")
    assert judged["at"].value == judged["at"].operands[0] == b"2026-01-02 01:04:05+00"
    assert judged["feeling"].is_asked
    for wrong, message in (
        ('{"id": "x"}', "--row: invalid input syntax"),
        ('{"small": 7}', "--row: value for domain"),
        ('{"nope": 7}', "--row: the table has no column nope"),
    ):
        with pytest.raises(SettingsError, match=message):
            await report_on(database, binding, row=wrong)


async def test_what_is_not_published_is_said(database: Database):
    database.execute("""
        create table t (id int primary key); create table u (id int); create table other (id int primary key);
        create publication supabase_realtime for table t, u with (publish = 'insert, update')
    """)
    binding = json.dumps({"schema": "public"})
    for options, detail in (
        ({"old": '{"id": 1}', "table": "t"}, "DELETE is not among the actions"),
        ({"row": '{"id": 1}', "table": "other"}, "public.other is in none of the followed publications"),
        ({"row": '{"id": 1}', "table": "nope"}, "there is no table public.nope"),
        ({"row": '{"id": 1}', "old": '{"id": 1}', "table": "u"}, "Postgres refuses UPDATE"),
    ):
        report = await report_on(database, binding, **options)
        assert step(report, "publication").outcome is Outcome.HELD_BACK
        assert detail in step(report, "publication").detail
        assert report.delivery is Delivery.HELD_BACK
    settings = read_settings({"DATABASE_URL": database.dsn, "PUBLICATIONS": "nope"})
    (report,) = await explain_all(settings, read_asked(binding, row='{"id": 1}', table="t"))
    assert step(report, "publication").detail == 'there is no publication "nope"'


@pytest.mark.postgres(15, why="row filters and column lists came with version 15")
async def test_row_filters_and_column_lists_are_looked_at(database: Database):
    database.execute("""
        create table t (id int primary key, price int, secret text);
        alter table t replica identity using index t_pkey;
        create publication supabase_realtime for table t (id, price) where (id > 10 and id < 100)
    """)
    binding = json.dumps({"schema": "public", "table": "t", "filter": "id=gt.0"})
    report = await report_on(database, binding, row='{"id": 11, "secret": "s"}')
    assert report.delivery is Delivery.DELIVERED
    assert step(report, "publication").detail == "supabase_realtime publishes it, without secret"
    report = await report_on(database, binding, row='{"id": 9}')
    assert "(id > 10)" in step(report, "publication").detail
    assert report.delivery is Delivery.HELD_BACK
    for new, old, kind in ((11, 9, Kind.INSERT), (11, 12, Kind.UPDATE), (9, 11, Kind.DELETE)):
        report = await report_on(database, binding, row=f'{{"id": {new}}}', old=f'{{"id": {old}}}')
        assert (report.kind, report.delivery) == (kind, Delivery.DELIVERED)
    report = await report_on(database, binding, old='{"id": 11}')
    assert report.delivery is Delivery.DELIVERED
    with pytest.raises(SettingsError, match="--row: id is missing"):
        await report_on(database, binding, row='{"price": 1}')


@pytest.mark.postgres(13, why="partitions are published as their root from version 13 on")
async def test_a_partition_is_published_as_its_root(database: Database):
    database.execute("""
        create table events (id int primary key) partition by range (id);
        create table events_1 partition of events for values from (1) to (9);
        create publication supabase_realtime for table events with (publish_via_partition_root)
    """)
    report = await report_on(database, '{"schema": "public", "table": "events_1"}', row='{"id": 1}')
    assert step(report, "publication").detail == "public.events_1 is published as a part of public.events"
    report = await report_on(database, '{"schema": "public", "table": "events"}', row='{"id": 1}')
    assert report.delivery is Delivery.DELIVERED


async def test_a_role_is_asked_about(published: Database):
    role = f"reader_{published.name}"
    row, everything = '{"id": 1, "title": "milk"}', json.dumps(TODOS)
    published.execute(f'create role "{role}"')
    try:
        report = await report_on(published, MILK, row=row, role=role)
        assert "invalid column for filter title" in step(report, "join").detail
        report = await report_on(published, everything, row=row, role=role)
        assert "the client gets `Error 401: Unauthorized`" in step(report, "privilege").detail
        assert report.delivery is Delivery.HELD_BACK
        report = await report_on(published, everything, old=row, role=role)
        assert step(report, "privilege").detail == f"{role} may read no column of public.todos"
        published.execute(f'grant select (id, title) on todos to "{role}"')
        report = await report_on(published, MILK, row=row, role=role)
        assert step(report, "privilege").detail == f"{role} may read all of public.todos but done"
        assert report.delivery is Delivery.DELIVERED
        published.execute("alter table todos enable row level security")
        report = await report_on(published, MILK, row=row, role=role)
        assert "waits for its policies" in step(report, "privilege").detail
        assert report.delivery is Delivery.HELD_BACK
        published.execute(f'alter role "{role}" bypassrls')
        assert (await report_on(published, MILK, row=row, role=role)).delivery is Delivery.DELIVERED
        report = await report_on(published, MILK, row=row, role="nobody at all")
        assert 'role "nobody at all" does not exist' in step(report, "join").detail
    finally:
        published.execute(f'drop owned by "{role}"; drop role "{role}"')


def test_the_exit_code_tells_the_verdict(published: Database):
    delivered = run(MILK, "--row", '{"id": 1, "title": "milk"}', DATABASE_URL=published.dsn)
    assert (delivered.returncode, delivered.stderr) == (0, "")
    assert delivered.stdout.startswith("INSERT of public.todos: delivered\n")
    held_back = run(MILK, "--row", '{"id": 1, "title": null}', "--json", DATABASE_URL=published.dsn)
    assert held_back.returncode == 1
    assert json.loads(held_back.stdout)["held_back_by"] == ["filter"]
    wrong = run(MILK, "--row", "{nope", DATABASE_URL=published.dsn)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--row: expected a JSON object" in wrong.stderr
    away = run(MILK, "--row", '{"id": 1}', DATABASE_URL="postgresql://a@127.0.0.1:1/b")
    assert away.returncode == 2
    assert "Traceback" not in away.stderr


SHOWN = re.findall(
    r"^```sh\n(pgcast explain [^\n]*)\n```\n\n```text\n(.*?)^```",
    (Path(__file__).parents[2] / "docs/how-to/why-not.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(("command", "printed"), SHOWN)
def test_the_how_to_shows_what_is_printed(published: Database, command: str, printed: str):
    done = run(*shlex.split(command)[2:], DATABASE_URL=published.dsn)
    assert done.stdout == printed


def test_the_how_to_shows_something():
    assert len(SHOWN) == 2
