"""What doctor says of the schema `realtime`: nothing where nobody wants it, and the SQL where something is missing."""

from __future__ import annotations

import asyncio

import pytest

from fix_messages import PUBLICATION, initialize
from pgcast.postgres.checks import check_database
from pgcast.postgres.connection import parse_target
from pgcast.postgres.findings import Severity

NAME = "broadcasts from the database"


async def findings_of(database, dsn=None):
    findings = await check_database(parse_target(dsn or database.dsn), slot="s", publications=[PUBLICATION])
    return [finding for finding in findings if finding.name in {NAME, "private channels"}]


async def test_a_database_without_it_is_fine(database):
    (found,) = await findings_of(database)
    assert found.is_ok
    assert "pgcast init --realtime" in found.message


async def test_roles_that_are_missing_are_good_to_know(own_cluster):
    dsn = own_cluster().dsn()
    await asyncio.to_thread(initialize, dsn, has_realtime=True)
    (found,) = await findings_of(None, dsn)
    assert found.severity is Severity.INFO
    assert "there are no roles anon, authenticated, service_role" in found.message
    await asyncio.to_thread(initialize, dsn, has_realtime=True, has_roles=True)
    (found,) = await findings_of(None, dsn)
    assert found.is_ok


async def test_what_is_missing_comes_with_its_sql(initialized):
    initialized.execute("drop function realtime.topic() cascade; drop publication supabase_realtime")
    initialized.execute(
        "create publication supabase_realtime; alter table realtime.messages disable row level security"
    )
    missing = [found for found in await findings_of(initialized) if found.severity is Severity.WARNING]
    assert [found.message for found in missing] == [
        "missing: row level security",
        "missing: function realtime.topic",
        'missing: published: "realtime"."messages"',
    ]
    for found in missing:
        initialized.execute(found.sql)
    assert not any(found.severity is Severity.WARNING for found in await findings_of(initialized))


async def test_a_table_of_somebody_else_has_to_be_followed(database):
    database.execute("create schema realtime; create table realtime.messages (topic text)")
    database.execute("create publication supabase_realtime")
    (found, _) = await findings_of(database)
    assert (found.severity, found.sql) == (
        Severity.WARNING,
        'ALTER PUBLICATION "supabase_realtime" ADD TABLE realtime.messages;',
    )
    database.execute("create publication supabase_realtime_messages_publication for table realtime.messages")
    (found, _) = await findings_of(database)
    assert found.hint == "set PUBLICATIONS=supabase_realtime,supabase_realtime_messages_publication"
    database.execute("alter publication supabase_realtime add table realtime.messages")
    (found,) = await findings_of(database)
    assert "left as it is" in found.message


async def test_the_tables_of_messages_are_no_tables_to_worry_about(initialized):
    findings = await check_database(parse_target(initialized.dsn), slot="s", publications=[PUBLICATION])
    assert not any("realtime.messages" in found.message for found in findings if found.name != NAME)


@pytest.mark.postgres(16, why="CREATEROLE gives the right to act as a role before")
async def test_a_role_that_may_not_act_as_clients_is_told(own_cluster):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("create role anon; create schema realtime; create table realtime.messages (topic text)")
        connection.execute("create role plain login replication password 'plain'")
    target = parse_target(cluster.dsn("postgres"))
    dsn = f"host={target.host} port={target.port} dbname=postgres user=plain password=plain"
    found = (await findings_of(None, dsn))[-1]
    assert found.name == "private channels"
    assert found.sql == 'GRANT anon TO "plain";'


async def test_a_server_whose_role_the_policies_apply_to_is_told(own_cluster):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("""
            create schema realtime; create table realtime.messages (topic text, extension text);
            alter table realtime.messages enable row level security;
            create role plain login replication password 'plain'
        """)
        target = parse_target(cluster.dsn("postgres"))
        dsn = f"host={target.host} port={target.port} dbname=postgres user=plain password=plain"
        unusable, secured = await private_findings(dsn)
        assert "may not read and write realtime.messages" in unusable.message
        assert 'apply to role "plain"' in secured.message
        for statement in (unusable.sql, secured.sql):
            connection.execute(statement)
        assert await private_findings(dsn) == []
        connection.execute("alter role plain nobypassrls; alter table realtime.messages owner to plain")
        assert await private_findings(dsn) == []
        connection.execute("alter table realtime.messages force row level security")
        (secured,) = await private_findings(dsn)
        assert 'apply to role "plain"' in secured.message


async def private_findings(dsn):
    return [finding for finding in await findings_of(None, dsn) if finding.name == "private channels"]
