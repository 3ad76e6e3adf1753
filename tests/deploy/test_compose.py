"""compose.yaml without a container engine: its schema, what it says, and its settings on the database of its SQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from fix_node import Node, clean_environment, free_port
from fix_postgres import ClusterFactory
from pgcast.settings import variables
from realtime_client import RealtimeClient

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(FILE.read_text())["services"]
    return found


def test_the_file_follows_the_compose_specification():
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_variable_of_pgcast_is_a_setting(services: dict[str, Any]):
    assert set(services["pgcast"]["environment"]) <= variables()


def test_pgcast_waits_for_a_database_that_is_healthy_and_has_logical_replication(services: dict[str, Any]):
    assert services["pgcast"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert "--host=127.0.0.1" in services["db"]["healthcheck"]["test"]
    assert "wal_level=logical" in services["db"]["command"]


def test_without_a_secret_the_port_is_published_on_this_machine_alone(services: dict[str, Any]):
    environment = services["pgcast"]["environment"]
    assert environment["SECURE_CHANNELS"] == "false"
    assert services["pgcast"]["ports"] == [f"127.0.0.1:{environment['PORT']}:{environment['PORT']}"]


def test_the_root_file_system_is_read_only_and_what_is_written_is_a_volume(services: dict[str, Any]):
    pgcast = services["pgcast"]
    assert pgcast["read_only"] is True
    assert f"state:{pgcast['environment']['PGCAST_STATE_DIR']}" in pgcast["volumes"]
    assert f"--mode 0700 {pgcast['environment']['PGCAST_STATE_DIR']}\n" in (ROOT / "Dockerfile").read_text()


async def test_the_settings_work_on_a_database_that_the_sql_made(
    services: dict[str, Any], own_cluster: ClusterFactory, tmp_path: Path
):
    (init,) = [volume.partition(":")[0] for volume in services["db"]["volumes"] if "initdb.d" in volume]
    options = dict(word.split("=", 1) for word in services["db"]["command"] if "=" in word)
    cluster = own_cluster(settings={"wal_level": options["wal_level"]})
    with cluster.connect() as connection:
        connection.execute((ROOT / init).read_bytes(), prepare=False)
    port = free_port()
    environment = {
        **clean_environment(),
        **services["pgcast"]["environment"],
        # What differs where the two are no containers.
        "DB_HOST": "127.0.0.1",
        "DB_PORT": str(cluster.port),
        "PORT": str(port),
        "PGCAST_STATE_DIR": str(tmp_path),
        "PGCAST_BIND": "127.0.0.1",
    }
    node = Node(environment, port, tmp_path / "log")
    node.start()
    try:
        async with RealtimeClient(node.url) as client:
            await client.join("realtime:room", {"event": "*", "schema": "public", "table": "todos"})
            with cluster.connect() as connection:
                connection.execute("insert into todos (title) values ('milk')")
            assert (await client.change())["data"]["record"] == {"id": 1, "title": "milk", "done": False}
    finally:
        assert node.stop() == 0
