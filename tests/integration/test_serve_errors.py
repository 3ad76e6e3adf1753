"""A server that cannot start says why in one line, and how to mend it; it never shows a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest
from joserfc.jwk import ECKey

from fix_node import NodeFactory, clean_environment, free_port
from fix_postgres import ClusterFactory
from pgcast.devdb.template import Database


def serve(**environment: str) -> tuple[int, str]:
    """Run `pgcast serve` until it gives up; return its exit code and what it said, the log left out."""
    done = subprocess.run(
        [sys.executable, "-m", "pgcast", "serve"],
        env={**clean_environment(), "PORT": str(free_port()), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("{"))
    assert "Traceback" not in done.stderr, done.stderr
    assert said.startswith("pgcast: "), done.stderr
    assert len(said.splitlines()) <= 2, said
    return done.returncode, said


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "many", "PORT: Input should be a valid integer"),
        ("PORT", "70000", "PORT: Input should be less than or equal to 65535 (found '70000')"),
        ("DB_SSL", "perhaps", "DB_SSL: expected true, false, require, verify-ca or verify-full (found 'perhaps')"),
        ("SLOT_NAME", "a-b", "SLOT_NAME: expected letters, digits and underscores, at most 63 (found 'a-b')"),
        ("PUBLICATIONS", '["a', "PUBLICATIONS: expected a JSON array"),
        ("PUBLICATIONS", "a,,b", "PUBLICATIONS: expected at least one name, and no empty one"),
        ("JWT_CLAIM_VALIDATORS", "[]", "JWT_CLAIM_VALIDATORS: expected a JSON object"),
        ("SECURE_CHANNELS", "maybe", "SECURE_CHANNELS: Input should be a valid boolean"),
        ("PGCAST_WINDOW_S", "0", "PGCAST_WINDOW_S: Input should be greater than 0"),
        ("PGCAST_LEGACY_VALUES", "both", "PGCAST_LEGACY_VALUES: Input should be 'typed' or 'text'"),
        ("DATABASE_URL", "postgresql://u:geheim@h:x/d?y", "DATABASE_URL"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(variable: str, value: str, message: str):
    code, said = serve(**{variable: value})
    assert code == 2
    assert message in said or (variable == "DATABASE_URL" and "the database URL" in said), said
    assert "geheim" not in said


def test_no_database():
    code, said = serve(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
    assert code == 1
    assert "Connection refused" in said or "connection refused" in said.lower()


def test_a_wrong_password(cluster, published: Database):
    code, said = serve(
        DB_HOST="127.0.0.1",
        DB_PORT=str(cluster.port),
        DB_NAME=published.name,
        DB_USER="postgres",
        DB_PASSWORD="wrong-secret",
    )
    assert code == 1
    assert "password authentication failed" in said
    assert "DB_PASSWORD" in said
    assert "wrong-secret" not in said


def test_a_database_that_does_not_exist(cluster):
    code, said = serve(DATABASE_URL=cluster.dsn("nowhere"))
    assert code == 1
    assert 'database "nowhere" does not exist' in said


def test_a_wal_level_that_is_too_low(own_cluster: ClusterFactory):
    code, said = serve(DATABASE_URL=own_cluster(settings={"wal_level": "replica"}).dsn())
    assert code == 1
    assert "wal_level is replica" in said
    assert "ALTER SYSTEM SET wal_level" in said


def test_no_publication(database: Database):
    code, said = serve(DATABASE_URL=database.dsn)
    assert code == 1
    assert "supabase_realtime" in said
    assert "CREATE PUBLICATION" in said


def test_a_role_that_may_not_replicate(cluster, published: Database):
    published.execute(f"create role \"plain {published.name}\" login password 'plain'")
    try:
        code, said = serve(
            DB_HOST="127.0.0.1",
            DB_PORT=str(cluster.port),
            DB_NAME=published.name,
            DB_USER=f"plain {published.name}",
            DB_PASSWORD="plain",
        )
    finally:
        published.execute(f'drop role "plain {published.name}"')
    assert code == 1
    assert "REPLICATION" in said


def test_a_slot_that_is_busy(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn)
    code, said = serve(DATABASE_URL=published.dsn, SLOT_NAME=node.environment["SLOT_NAME"])
    assert code == 1
    assert "is active for PID" in said


def test_no_free_slot(own_cluster: ClusterFactory):
    cluster = own_cluster(settings={"max_replication_slots": 1})
    with cluster.connect() as connection:
        connection.autocommit = True
        connection.execute("create publication supabase_realtime for all tables")
        connection.execute("select pg_create_logical_replication_slot('other', 'pgoutput')")
    code, said = serve(DATABASE_URL=cluster.dsn())
    assert code == 1
    assert "all replication slots are in use" in said
    assert "max_replication_slots" in said


def test_a_port_that_is_taken(published: Database):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = serve(DATABASE_URL=published.dsn, PORT=str(port))
    assert code == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said
    assert "PORT" in said


def test_a_signing_secret_that_is_a_public_key(published: Database):
    key = ECKey.generate_key("P-256").as_pem(private=False).decode()
    code, said = serve(DATABASE_URL=published.dsn, JWT_SECRET=key)
    assert code == 2
    assert "JWT_SECRET is a public key" in said
    assert key.splitlines()[1] not in said


def test_a_signal_while_it_waits_for_the_slot_ends_it_in_good_order(published: Database, start_node: NodeFactory):
    busy = start_node(published.dsn)
    waiting = start_node(published.dsn, start=False, SLOT_NAME=busy.environment["SLOT_NAME"])
    waiting.start(wait=False)
    ends = time.monotonic() + 20
    while "waiting for it to go" not in waiting.log():
        assert time.monotonic() < ends, waiting.log()
        time.sleep(0.05)
    assert waiting.process is not None
    assert waiting.process.poll() is None
    assert waiting.stop() == 0
