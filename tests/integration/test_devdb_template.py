"""Databases copied from a template, and their removal against resistance."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgcast.devdb.template import Template, drop_database
from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from pgcast.devdb.cluster import Cluster
    from pgcast.devdb.template import Database

MAKE_SLOT = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"


def exists(cluster: Cluster, name: str) -> bool:
    with cluster.connect() as connection:
        return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def slots_of(cluster: Cluster, name: str) -> list[tuple[str]]:
    with cluster.connect() as connection:
        return connection.execute("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [name]).fetchall()


def test_a_copy_has_what_the_template_has_and_is_alone(cluster: Cluster) -> None:
    template = Template.create(cluster, ["CREATE TABLE todos (id int)", "INSERT INTO todos VALUES (1)"])
    first, second = template.copy(), template.copy()
    first.execute("INSERT INTO todos VALUES (2)")
    assert first.execute("SELECT id FROM todos ORDER BY id") == [(1,), (2,)]
    assert second.execute("SELECT id FROM todos") == [(1,)]
    for name in (first.name, second.name, template.name):
        with cluster.connect() as connection:
            drop_database(connection, name)
        assert not exists(cluster, name)


def test_a_database_takes_connections_of_each_kind(database: Database) -> None:
    assert database.execute("SELECT %s::int + 1", [41]) == [(42,)]
    assert database.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (7); SELECT a FROM t") == [(7,)]
    assert database.execute("DROP TABLE t") == []
    with psycopg.connect(database.tcp_dsn) as over_tcp:
        assert over_tcp.execute("SELECT current_database(), inet_client_addr() IS NULL").fetchone() == (
            database.name,
            False,
        )


def test_a_drop_ends_connections_and_slots_in_use(cluster: Cluster) -> None:
    database = Template.create(cluster).copy()
    database.execute(MAKE_SLOT, [f"{database.name}_idle"])
    database.execute(MAKE_SLOT, [f"{database.name}_active"])
    idle = database.connect()
    replicating = psycopg.connect(f"{database.dsn}&replication=database", autocommit=True)
    start = f"START_REPLICATION SLOT {database.name}_active LOGICAL 0/0 (proto_version '1', publication_names 'p')"
    replicating.pgconn.send_query(start.encode())
    while not slots_in_use(cluster, database.name):
        pass
    database.drop()
    assert not exists(cluster, database.name)
    assert slots_of(cluster, database.name) == []
    with pytest.raises(psycopg.OperationalError):
        idle.execute("SELECT 1")
    idle.close()
    replicating.close()
    database.drop()


def slots_in_use(cluster: Cluster, name: str) -> bool:
    with cluster.connect() as connection:
        asked = "SELECT 1 FROM pg_replication_slots WHERE database = %s AND active"
        return connection.execute(asked, [name]).fetchone() is not None


def test_a_client_that_keeps_connecting_does_not_keep_a_database(cluster: Cluster) -> None:
    database = Template.create(cluster).copy()
    dropped = threading.Event()

    def connect_again_and_again() -> None:
        while not dropped.is_set():
            try:
                with psycopg.connect(database.dsn) as connection:
                    connection.execute("SELECT pg_sleep(10)")
            except psycopg.Error:
                continue

    client = threading.Thread(target=connect_again_and_again)
    client.start()
    try:
        database.drop()
    finally:
        dropped.set()
        client.join()
    assert not exists(cluster, database.name)


def test_what_cannot_be_dropped_is_named_when_the_deadline_has_passed(cluster: Cluster) -> None:
    database = Template.create(cluster).copy()
    with database.connect() as frozen:
        pid = frozen.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(PgcastError, match=f"database {database.name} is still in use"):
                database.drop(deadline_s=0.1)
        finally:
            os.kill(pid, signal.SIGCONT)
        database.drop()
