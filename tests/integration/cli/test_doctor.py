from __future__ import annotations

import io

import pytest
from rich.console import Console

from pgcast.cli.doctor import run_doctor
from pgcast.postgres.connection import Target, parse_target


@pytest.fixture
def printed():
    return io.StringIO()


def doctor(target, printed, *, publications=("p",)):
    return run_doctor(target, slot="doctor_test", publications=publications, console=Console(file=printed, width=80))


def test_a_database_with_all_it_needs_passes(database, printed):
    database.execute("CREATE TABLE t (a int PRIMARY KEY); CREATE PUBLICATION p FOR ALL TABLES")
    assert doctor(parse_target(database.dsn), printed) == 0
    assert "ok  wal_level  logical" in printed.getvalue()
    assert "note  old records" in printed.getvalue()
    assert printed.getvalue().endswith("pgcast can work with this database\n")


def test_what_is_missing_is_printed_with_sql_on_one_line(database, printed):
    name = "a [bold] name, longer than the console is wide, so that it would be wrapped"
    assert doctor(parse_target(database.dsn), printed, publications=[name[:63]]) == 1
    assert f'         CREATE PUBLICATION "{name[:63]}" FOR ALL TABLES;\n' in printed.getvalue()
    assert "1 to mend" in printed.getvalue()


def test_a_database_that_is_away_is_said_with_a_hint(printed):
    assert doctor(Target(host="127.0.0.1", port="1", user="a", dbname="b", password="barley"), printed) == 1
    assert "Connection refused" in " ".join(printed.getvalue().split())
    assert "DB_HOST" in printed.getvalue()
    assert "barley" not in printed.getvalue()
