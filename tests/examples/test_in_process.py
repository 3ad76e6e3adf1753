"""The examples of the Python API that the documentation shows, each run as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fix_node import clean_environment, free_port

if TYPE_CHECKING:
    from pgcast.devdb.template import Database

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/in-process"
DEADLINE_S = 20.0


def started(database: Database, *command: str) -> subprocess.Popen[str]:
    environment = {**clean_environment(), "DATABASE_URL": database.dsn, "DJANGO_SETTINGS_MODULE": "django_site"}
    environment["PYTHONPATH"] = os.pathsep.join([environment.get("PYTHONPATH", ""), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.mark.parametrize("name", ["listen.py", "listen_sync.py", "acknowledge.py"])
def test_a_listener_prints_each_change(name: str, published: Database):
    with started(published, str(EXAMPLES / name)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            published.execute("insert into todos values (1, 'milk')")
            assert process.stdout.readline() == "INSERT None {'id': 1, 'title': 'milk', 'done': False}\n"
            published.execute("delete from todos")
            assert process.stdout.readline() == "DELETE {'id': 1} None\n"
        finally:
            process.kill()


@pytest.mark.parametrize("app", ["starlette_app:app", "django_asgi:application"])
def test_an_application_s_handler_is_called(app: str, published: Database):
    port = free_port()
    with started(published, "-m", "uvicorn", app, "--app-dir", str(EXAMPLES), "--port", str(port)) as process:
        try:
            _answer(port, "/realtime/v1/ready")
            published.execute("insert into todos values (1, 'milk')")
            if app.startswith("django"):
                assert _answer(port, "/hello/").text == "hello"
                assert process.stdout is not None
                assert "new: milk\n" in iter(process.stdout.readline, "")
            else:
                assert _seen(port) == ["milk"]
        finally:
            process.kill()


def _answer(port: int, path: str) -> httpx.Response:
    ends = time.monotonic() + DEADLINE_S
    while True:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}{path}")
        except httpx.TransportError:
            assert time.monotonic() < ends
            time.sleep(0.05)
        else:
            assert answer.status_code == 200, answer.text
            return answer


def _seen(port: int) -> Any:
    ends = time.monotonic() + DEADLINE_S
    while not (seen := _answer(port, "/seen").json()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return seen
