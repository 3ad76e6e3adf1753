"""What the catalog says of roles and tables, against what Postgres itself lets the roles do."""

from __future__ import annotations

import psycopg
import pytest

from pgcast.model.sight import Sight
from pgcast.postgres.catalog import PostgresCatalog
from pgcast.postgres.connection import parse_target

OWNER, MEMBER, NOINHERIT, READER, NOBODY = (f"pgcast_test_{name}" for name in ("o", "m", "n", "r", "x"))
ROLES = (OWNER, MEMBER, NOINHERIT, READER, NOBODY, "service_role")


@pytest.fixture(scope="module")
def people(cluster):
    """An owner of tables, a member that inherits from it, one that does not, one with grants, and nobody."""
    with cluster.connect() as connection:
        for role in (OWNER, READER, NOBODY, MEMBER):
            connection.execute(f"CREATE ROLE {role}")
        connection.execute(f"CREATE ROLE {NOINHERIT} NOINHERIT")
        connection.execute(f"GRANT {OWNER} TO {MEMBER}, {NOINHERIT}")
    yield
    with cluster.connect() as connection:
        connection.execute(f"DROP ROLE {MEMBER}, {NOINHERIT}, {OWNER}, {READER}, {NOBODY}")


@pytest.fixture
async def catalog(database, people, roles):
    made = PostgresCatalog(parse_target(database.dsn), publications=["p"])
    yield made
    await made.close()
    database.execute(f"DROP OWNED BY {OWNER}, {READER}, {NOBODY}, {MEMBER}, {NOINHERIT}, service_role")


def make(database, name="t", *, grants="", security=""):
    database.execute(f"""
        CREATE TABLE {name} (id int PRIMARY KEY, a text, b text);
        INSERT INTO {name} VALUES (1, 'a', 'b');
        ALTER TABLE {name} OWNER TO {OWNER};
        GRANT USAGE ON SCHEMA public TO {READER}, service_role, {OWNER}, {MEMBER}, {NOINHERIT};
        GRANT SELECT ON {name} TO service_role;
        {grants};
        {security}
    """)
    return database.execute(f"SELECT '{name}'::regclass::oid::int8")[0][0]


def may(database, role, statement):
    """What Postgres itself lets a role do: the rows it gets, or None."""
    with psycopg.connect(database.dsn) as connection:
        connection.execute(f"SET ROLE {role}")
        try:
            return connection.execute(statement).fetchall()
        except psycopg.errors.InsufficientPrivilege:
            return None


@pytest.mark.parametrize(
    "grants",
    [
        f"GRANT SELECT ON t TO {READER}",
        f"GRANT SELECT (id, b) ON t TO {READER}",
        f"GRANT SELECT ON t TO {READER}; REVOKE USAGE ON SCHEMA public FROM {READER}, PUBLIC",
        f"REVOKE SELECT ON t FROM {OWNER}",
    ],
)
@pytest.mark.parametrize(
    "security",
    [
        "",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY",
    ],
)
async def test_a_sight_is_what_postgres_lets_a_role_do(database, catalog, grants, security):
    oid = make(database, grants=grants, security=security)

    sights = {role: tables[oid] for role, tables in (await catalog.sights([oid], ROLES)).items()}

    for role in ROLES:
        columns = sights[role].columns
        for column in ("id", "a", "b"):
            rows = may(database, role, f"SELECT {column} FROM public.t")
            assert (rows is not None) == (columns is None or column in columns), (role, column)
        if columns != frozenset():
            shown = next(column for column in ("id", "a", "b") if columns is None or column in columns)
            # No policy: so those it applies to see no row.
            assert (may(database, role, f"SELECT {shown} FROM public.t") == []) == sights[role].is_secured, role


async def test_a_superuser_sees_everything(database, catalog):
    oid = make(database, security="ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY")

    assert (await catalog.sights([oid], ["postgres"]))["postgres"][oid] == Sight()


async def test_what_does_not_exist_is_missing(database, catalog):
    oid = make(database)

    assert await catalog.sights([oid], ["no_such_role"]) == {}
    assert await catalog.sights([1], [NOBODY]) == {NOBODY: {}}
    assert await catalog.sights([], [NOBODY]) == {NOBODY: {}}


async def test_names_of_all_kinds_are_told_apart(database, catalog):
    database.execute(f"""
        CREATE TABLE "A b" (id int PRIMARY KEY, "q""x" int, "é" int);
        GRANT SELECT ("q""x", "é") ON "A b" TO {NOBODY};
        GRANT USAGE ON SCHEMA public TO {NOBODY}
    """)
    oid = database.execute("""SELECT '"A b"'::regclass::oid::int8""")[0][0]

    assert (await catalog.sights([oid], [NOBODY]))[NOBODY][oid] == Sight(frozenset({'q"x', "é"}))


@pytest.mark.parametrize(
    "statement",
    [
        f"ALTER ROLE {NOBODY} BYPASSRLS",
        f"GRANT {READER} TO {NOBODY}",
        f"GRANT USAGE ON SCHEMA public TO {NOBODY}",
        f"ALTER ROLE {NOBODY} NOINHERIT",
        "CREATE SCHEMA another",
    ],
)
async def test_the_fingerprint_changes_with_what_no_table_announces(database, catalog, statement):
    before = await catalog.fingerprint_of_roles()
    database.execute(f"CREATE TABLE announced (id int); GRANT SELECT ON announced TO {NOBODY}")
    assert await catalog.fingerprint_of_roles() == before

    database.execute(statement)
    changed = await catalog.fingerprint_of_roles()
    database.execute(f"ALTER ROLE {NOBODY} NOBYPASSRLS INHERIT; REVOKE {READER} FROM {NOBODY}")

    assert changed != before


async def test_the_published_tables_say_whether_they_have_row_level_security(database, catalog):
    make(database, "open")
    make(database, "guarded", security="ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    database.execute("CREATE PUBLICATION p FOR ALL TABLES")

    found = {table.name: table.is_secured for table in await catalog.published_tables()}

    assert found == {"open": False, "guarded": True}
