from __future__ import annotations

import asyncio
import socket

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgcast.model.errors import ConnectionFailed, SettingsError
from pgcast.postgres.connection import (
    SESSION_OPTIONS,
    Target,
    connect_sql,
    parse_target,
    replication_conninfo,
    sql_conninfo,
    within,
)


@pytest.fixture(autouse=True)
def _no_libpq_variables(monkeypatch):
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)


def test_both_kinds_of_connection_carry_the_same_session_settings():
    target = Target(host="db", port="5433", dbname="app", user="ada", password="p w'\\", sslmode="require")
    sql = conninfo_to_dict(sql_conninfo(target))
    assert sql == {
        "host": "db",
        "port": "5433",
        "dbname": "app",
        "user": "ada",
        "password": "p w'\\",
        "sslmode": "require",
        "options": SESSION_OPTIONS,
        "client_encoding": "UTF8",
        "application_name": "pgcast",
        "connect_timeout": "10",
        "keepalives": "1",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
    assert conninfo_to_dict(replication_conninfo(target)) == {**sql, "replication": "database"}


def test_ours_come_after_options_of_the_users_own_and_so_win():
    target = parse_target("postgresql://ada@db/app?options=endpoint%3Dep-1%20-c%20datestyle%3DGerman")
    options = conninfo_to_dict(sql_conninfo(target))["options"]
    assert options == f"endpoint=ep-1 -c datestyle=German {SESSION_OPTIONS}"


def test_options_of_the_environment_are_kept_too(monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=64MB")
    assert conninfo_to_dict(sql_conninfo(Target()))["options"] == f"-c work_mem=64MB {SESSION_OPTIONS}"


def test_a_url_keeps_all_that_libpq_knows():
    target = parse_target(
        "postgresql://ada:s%40crt@db:5433/app?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3"
        "&application_name=mine&replication=true&client_encoding=latin1"
    )
    assert target == Target(
        host="db",
        port="5433",
        dbname="app",
        user="ada",
        password="s@crt",
        sslmode="verify-full",
        others={
            "sslrootcert": "/ca.pem",
            "connect_timeout": "3",
            "application_name": "mine",
            "client_encoding": "latin1",
        },
    )
    parameters = conninfo_to_dict(sql_conninfo(target))
    assert parameters["connect_timeout"] == "3"
    assert parameters["application_name"] == "mine"
    assert parameters["client_encoding"] == "UTF8"
    assert "replication" not in parameters


def test_a_unix_socket_and_key_value_pairs_are_read():
    assert parse_target("postgresql:///app?host=/var/run/postgresql") == Target(
        host="/var/run/postgresql", dbname="app"
    )
    assert parse_target("host=db user=ada") == Target(host="db", user="ada")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:barley@field@db/app",
        "postgresql://ada:barley#1@db:x/app?nonsense",
        "postgresql://ada:barley@db:5432/app?no_such_option=1",
        "barley",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_repeating_it(url):
    with pytest.raises(SettingsError) as caught:
        parse_target(url)
    assert "barley" not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"
    assert "%40" in caught.value.hint


def test_a_target_is_printed_without_secrets():
    target = parse_target("postgresql://ada:barley@db/app?sslpassword=rye")
    assert str(target) == "ada@db:5432/app"
    assert "barley" not in repr(target)
    assert "rye" not in repr(target)


def test_what_is_not_given_is_printed_as_libpq_will_fill_it_in(monkeypatch):
    monkeypatch.setenv("PGHOST", "/run/pg")
    monkeypatch.setenv("PGUSER", "ada")
    assert str(Target()) == "ada@/run/pg:5432/ada"


async def test_work_done_in_time_is_returned_or_raises():
    async def answer(value):
        await asyncio.sleep(0)
        if value is None:
            raise LookupError
        return value

    assert await within(5, answer(7)) == 7
    with pytest.raises(LookupError):
        await within(5, answer(None))


async def test_work_that_does_not_stop_when_cancelled_is_cancelled_again():
    cancelled = []

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(1)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await within(0.01, stubborn())
    assert cancelled == [1]


async def test_a_cancelled_caller_takes_the_work_with_it():
    ended = asyncio.Event()

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    waiting = asyncio.ensure_future(within(60, work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()


async def test_a_result_that_crosses_with_a_cancellation_is_handed_back():
    handed_back = []

    async def put_away(result):
        handed_back.append(result)

    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "a connection"

    with pytest.raises(TimeoutError):
        await within(0.01, stubborn(), unwanted=put_away)
    assert handed_back == ["a connection"]


@pytest.mark.parametrize("family", [0, socket.AF_INET])
@pytest.mark.parametrize("host", ["db..example", "x" * 64 + ".example"])
async def test_a_host_that_no_resolver_takes_is_said_and_no_fault_of_ours(host, family):
    with pytest.raises(ConnectionFailed, match="label empty or too long"):
        await connect_sql(Target(host=host, family=family), timeout_s=5)
