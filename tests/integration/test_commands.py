"""The program as it is called: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fix_node import Node, clean_environment
from pgcast.devdb.template import Database
from pgcast.settings import Settings

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgcast", *arguments],
        env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_the_version_is_that_of_the_project():
    done = run("--version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (done.returncode, done.stdout) == (0, f"pgcast {project['version']}\n")


def test_a_command_that_needs_no_server_loads_none():
    program = "import sys, pgcast.cli; print({'pgcast.app', 'uvicorn', 'starlette', 'httpx'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.stdout == "set()\n", "what is loaded costs each health check its time"


def test_the_help_of_serve_lists_every_setting():
    done = run("serve", "--help", COLUMNS="200")
    assert done.returncode == 0
    for field in Settings.model_fields.values():
        assert f"{field.alias} (" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["serve", "--nonsense"], []])
def test_a_mistake_in_usage_is_code_2_and_no_traceback(arguments: list[str]):
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_server_ends_in_good_order(node: Node):
    assert node.stop() == 0
    assert node.log_events()[0]["event"] == "replication stream open"


def test_doctor_says_what_a_database_lacks(database: Database):
    lacking = run("doctor", DATABASE_URL=database.dsn)
    assert lacking.returncode == 1, lacking.stderr
    assert "CREATE PUBLICATION" in lacking.stdout
    database.execute("create table t (id int primary key)")
    database.execute("create publication supabase_realtime for all tables")
    enough = run("doctor", DATABASE_URL=database.dsn)
    assert enough.returncode == 0, enough.stdout
    assert enough.stdout.rstrip().endswith("pgcast can work with this database")


def test_an_address_that_would_let_everybody_in_is_refused(database: Database):
    refused = run("serve", DATABASE_URL=database.dsn, PGCAST_BIND="0.0.0.0")  # noqa: S104 - it is refused
    assert refused.returncode == 2
    assert "set JWT_SECRET, JWT_JWKS or PGCAST_SECRET_KEYS, or say SECURE_CHANNELS=false" in refused.stderr


def test_config_tells_what_is_in_force_and_connects_to_nothing():
    done = run("config", "--json", "--set", "PORT=4001", DB_HOST="nowhere.invalid", JWT_SECRET="geheim")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows["PORT"] == {"value": 4001, "origin": "option"}
    assert rows["DB_HOST"] == {"value": "nowhere.invalid", "origin": "environment"}
    assert rows["JWT_SECRET"] == {"value": "********", "origin": "environment"}
    table = run("config", DB_HOST="nowhere.invalid", MAX_CHANGES="1")
    assert re.search(r"^ *DB_HOST +nowhere\.invalid +environment *$", table.stdout, re.MULTILINE)
    assert "MAX_CHANGES has no effect" in table.stdout


@pytest.mark.parametrize("command", ["serve", "config", "doctor"])
def test_a_mistyped_setting_is_refused_by_every_command_with_the_nearest_one(command: str):
    done = run(command, PGCAST_WINDOWS_MB="3")
    assert done.returncode == 2
    assert done.stderr.startswith("pgcast: PGCAST_WINDOWS_MB is no setting of pgcast; did you mean PGCAST_WINDOW_MB?\n")


@pytest.mark.parametrize("command", ["serve", "config"])
def test_a_secret_is_no_option(command: str):
    done = run(command, "--set", "JWT_SECRET=geheim")
    assert done.returncode == 2
    assert "JWT_SECRET_FILE" in done.stderr
    assert "geheim" not in done.stderr


def test_an_option_wins_over_the_environment(database: Database):
    refused = run("serve", "--set", "PORT=many", DATABASE_URL=database.dsn, PORT="4000")
    assert refused.returncode == 2
    assert refused.stderr.startswith("pgcast: PORT: Input should be a valid integer")
