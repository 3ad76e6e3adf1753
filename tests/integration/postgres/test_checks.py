from __future__ import annotations

import psycopg
import pytest

from pgcast.model.lsn import NO_LSN
from pgcast.postgres.checks import check_database
from pgcast.postgres.connection import Target, parse_target
from pgcast.postgres.findings import Severity
from pgcast.postgres.replication import ReplicationSource


async def findings_of(database, slot, publications=("p",)):
    return await check_database(parse_target(database.dsn), slot=slot, publications=publications)


def troubles(findings):
    """Return what is not ok, by name; several of a name come in order."""
    return [(one.name, one.severity, one.message, one.sql) for one in findings if not one.is_ok]


def only(findings, name):
    (found,) = [one for one in findings if one.name == name]
    return found


async def test_a_database_with_all_it_needs_has_no_trouble(database, slot):
    database.execute(
        "CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR ALL TABLES"
    )
    findings = await findings_of(database, slot)
    assert troubles(findings) == []
    assert [one.name for one in findings] == [
        "connection", "version", "wal_level", "replication", "max_wal_senders", "max_replication_slots",
        'publication "p"', "tables", "broadcasts from the database", f'slot "{slot}"', "synchronous_standby_names",
    ]  # fmt: skip
    assert only(findings, 'publication "p"').message == "all tables: 1 now"
    assert "made at the first start" in only(findings, f'slot "{slot}"').message


async def test_a_database_that_cannot_be_reached_is_the_only_finding():
    findings = await check_database(Target(host="127.0.0.1", port="1", user="a", dbname="b"), slot="s", publications=[])
    assert [(one.name, one.severity) for one in findings] == [("connection", Severity.ERROR)]
    assert "DB_HOST" in findings[0].hint


async def test_a_missing_publication_comes_with_its_statement(database, slot):
    database.execute("CREATE PUBLICATION other FOR ALL TABLES")
    found = only(await findings_of(database, slot, ['my "p"']), 'publication "my ""p"""')
    assert found.severity is Severity.ERROR
    assert found.sql == 'CREATE PUBLICATION "my ""p""" FOR ALL TABLES;'
    assert 'there are: "other"' in found.hint
    database.execute(found.sql)
    assert only(await findings_of(database, slot, ['my "p"']), 'publication "my ""p"""').is_ok


async def test_publications_that_publish_nothing_or_not_all_are_told(database, slot):
    database.execute(
        "CREATE TABLE t (a int); CREATE PUBLICATION p; CREATE PUBLICATION q FOR TABLE t WITH (publish = 'insert')"
    )
    findings = await findings_of(database, slot, ["p", "q"])
    assert only(findings, 'publication "p"').severity is Severity.WARNING
    assert only(findings, 'publication "p"').sql == 'ALTER PUBLICATION "p" ADD TABLE ...;'
    assert only(findings, 'publication "q"').message == "does not publish delete, update"
    # Nobody publishes updates, so none is refused.
    assert only(findings, "tables").is_ok


def is_refused(database, statement):
    try:
        database.execute(statement)
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InvalidColumnReference):
        return True
    return False


async def test_tables_whose_updates_fail_are_told_and_mended(database, slot):
    database.execute("""
        CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (1);
        CREATE SCHEMA "S"; CREATE TABLE "S"."no thing" (a int PRIMARY KEY); INSERT INTO "S"."no thing" VALUES (1);
        ALTER TABLE "S"."no thing" REPLICA IDENTITY NOTHING;
        CREATE TABLE lost (a int NOT NULL); INSERT INTO lost VALUES (1);
        CREATE UNIQUE INDEX lost_index ON lost (a); ALTER TABLE lost REPLICA IDENTITY USING INDEX lost_index;
        DROP INDEX lost_index;
        CREATE TABLE fine (a int PRIMARY KEY);
        CREATE TABLE indexed (a int PRIMARY KEY, b int NOT NULL); CREATE UNIQUE INDEX b_index ON indexed (b);
        ALTER TABLE indexed REPLICA IDENTITY USING INDEX b_index;
        CREATE PUBLICATION p FOR ALL TABLES;
    """)
    failing = ["keyless", '"S"."no thing"', "lost"]
    assert all(is_refused(database, f"UPDATE {table} SET a = 2") for table in failing)
    findings = await findings_of(database, slot)
    found = only(findings, "replica identity")
    assert found.severity is Severity.ERROR
    assert found.sql.splitlines() == [
        'ALTER TABLE "S"."no thing" REPLICA IDENTITY FULL;',
        "ALTER TABLE public.keyless REPLICA IDENTITY FULL;",
        "ALTER TABLE public.lost REPLICA IDENTITY FULL;",
    ]
    keyed = only(findings, "old records")
    assert keyed.severity is Severity.INFO
    assert keyed.sql.splitlines() == [
        "ALTER TABLE public.fine REPLICA IDENTITY FULL;",
        "ALTER TABLE public.indexed REPLICA IDENTITY FULL;",
    ]
    database.execute(found.sql)
    assert not any(is_refused(database, f"UPDATE {table} SET a = 2") for table in failing)
    assert only(await findings_of(database, slot), "tables").is_ok


@pytest.mark.postgres(15, why="row filters and column lists came with version 15")
async def test_column_lists_and_row_filters_that_make_updates_fail_are_told(database, slot):
    database.execute("""
        CREATE TABLE full_list (a int PRIMARY KEY, b int); ALTER TABLE full_list REPLICA IDENTITY FULL;
        CREATE TABLE no_key (a int PRIMARY KEY, b int);
        CREATE TABLE filtered (a int PRIMARY KEY, b int);
        CREATE TABLE fine (a int PRIMARY KEY, b int);
        INSERT INTO full_list VALUES (1, 1); INSERT INTO no_key VALUES (1, 1); INSERT INTO filtered VALUES (1, 1);
        INSERT INTO fine VALUES (1, 1);
        CREATE PUBLICATION p FOR TABLE full_list (a, b), no_key (b), filtered WHERE (b > 0), fine (a) WHERE (a > 0);
        CREATE PUBLICATION q FOR TABLE fine;
    """)
    failing = [
        table
        for table in ("full_list", "no_key", "filtered", "fine")
        if is_refused(database, f"UPDATE {table} SET b = 2")
    ]
    assert failing == ["full_list", "no_key", "filtered"]
    findings = await findings_of(database, slot)
    told = [(one.name, one.message.rpartition(": ")[2], one.sql) for one in findings if one.severity is Severity.ERROR]
    assert told == [
        ("column list", "public.full_list", "ALTER TABLE public.full_list REPLICA IDENTITY DEFAULT;"),
        ("column list", "public.no_key", ""),
        ("row filter", "public.filtered", "ALTER TABLE public.filtered REPLICA IDENTITY FULL;"),
    ]
    disagreeing = [one for one in await findings_of(database, slot, ["p", "q"]) if "disagree" in one.message]
    assert [one.message.rpartition(": ")[2] for one in disagreeing] == ["public.fine"]


@pytest.mark.postgres(12, why="generated columns came with version 12")
async def test_unpublished_generated_columns_under_full_are_told_where_they_matter(database, slot):
    database.execute("""
        CREATE TABLE t (a int PRIMARY KEY, g int GENERATED ALWAYS AS (a + 1) STORED); INSERT INTO t VALUES (1);
        ALTER TABLE t REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR ALL TABLES
    """)
    told = [one for one in await findings_of(database, slot) if one.name == "generated columns"]
    assert bool(told) == is_refused(database, "UPDATE t SET a = 2")


async def test_row_security_is_told(database, slot):
    database.execute("""
        CREATE TABLE t (a int PRIMARY KEY); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE PUBLICATION p FOR ALL TABLES
    """)
    assert only(await findings_of(database, slot), "row level security").message == "enabled: public.t"


async def test_a_slot_is_told_with_its_reader_and_lag(database, slot):
    database.execute("CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION p FOR ALL TABLES")
    source = ReplicationSource(parse_target(database.dsn), slot=slot, publications=["p"])
    await source.open(NO_LSN)
    try:
        found = only(await findings_of(database, slot), f'slot "{slot}"')
        ((pid,),) = database.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [slot])
    finally:
        await source.close()
    assert found.is_ok
    assert f"in use by process {pid}; " in found.message
    assert " bytes not confirmed, " in found.message


async def test_a_slot_of_something_else_is_told(database, slot):
    database.execute("CREATE PUBLICATION p FOR ALL TABLES")
    database.execute("SELECT pg_create_physical_replication_slot(%s)", [slot])
    try:
        found = only(await findings_of(database, slot), f'slot "{slot}"')
        assert found.severity is Severity.ERROR
        assert found.sql == f"SELECT pg_drop_replication_slot('{slot}');"
    finally:
        database.execute("SELECT pg_drop_replication_slot(%s)", [slot])


async def test_a_server_that_is_not_configured_is_told_setting_by_setting(own_cluster):
    cluster = own_cluster(
        settings={
            "wal_level": "replica",
            "max_wal_senders": 0,
            "max_replication_slots": 0,
            "synchronous_standby_names": "*",
            "synchronous_commit": "local",
        }
    )
    with cluster.connect() as connection:
        connection.execute("CREATE ROLE plain LOGIN")
    target = parse_target(cluster.dsn())
    plain = Target(host=target.host, port=target.port, dbname="postgres", user="plain")
    findings = await check_database(plain, slot="s", publications=["p"])
    told = {one.name: one.sql.splitlines()[0] for one in findings if not one.is_ok}
    assert told == {
        "wal_level": "ALTER SYSTEM SET wal_level = 'logical';",
        "replication": 'ALTER ROLE "plain" WITH REPLICATION;',
        "max_wal_senders": "ALTER SYSTEM SET max_wal_senders = 10;",
        "max_replication_slots": "ALTER SYSTEM SET max_replication_slots = 10;",
        'publication "p"': 'CREATE PUBLICATION "p" FOR ALL TABLES;',
        "synchronous_standby_names": "ALTER SYSTEM SET synchronous_standby_names = '...';",
    }


async def test_full_slots_are_told_with_those_that_could_go(own_cluster):
    cluster = own_cluster(settings={"max_replication_slots": 1})
    with cluster.connect() as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('idle')")
    findings = await check_database(parse_target(cluster.dsn()), slot="s", publications=[])
    assert only(findings, "max_replication_slots").sql.splitlines() == [
        "ALTER SYSTEM SET max_replication_slots = 11;",
        "-- or SELECT pg_drop_replication_slot('idle');",
    ]
