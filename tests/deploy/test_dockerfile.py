"""The container image without a container engine: its build steps run in a folder, and what they make runs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.dockerfile import Scratch, Stage, is_in_context, read_dockerfile
from fix_node import START_S, STOP_S, free_port
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database
from pgcast.settings import variables
from realtime_client import RealtimeClient

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture(scope="module")
def stages() -> tuple[Stage, Stage]:
    build, final = read_dockerfile(ROOT / "Dockerfile")
    return build, final


@pytest.fixture
def built(stages: tuple[Stage, Stage]) -> Iterator[Scratch]:
    """What the first stage makes."""
    # Not pytest's folder, which only its owner may enter.
    root = Path(tempfile.mkdtemp(prefix="pgcast-image-"))
    try:
        scratch = Scratch(root, ROOT)
        scratch.build(stages[0])
        scratch.open_to_all()
        yield scratch
    finally:
        shutil.rmtree(root)


class Container:
    """The final stage's command, run as another user where the tests run as root, with nothing it could write to."""

    def __init__(self, scratch: Scratch, stage: Stage, variables: dict[str, str]) -> None:
        self._scratch = scratch
        self._stage = stage
        home = "/nonexistent"
        path = stage.variables()["PATH"].replace("/opt/pgcast/bin", str(scratch.path("/opt/pgcast/bin")))
        # Docker sets HOSTNAME to the container's id.
        self._environment = {
            **stage.variables(), **scratch.variables, "PATH": path, "HOME": home, "TMPDIR": home, "HOSTNAME": "3f2a",
            **variables,
        }  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[str]:
        name, *others = self._stage.command("ENTRYPOINT")
        is_root = os.geteuid() == 0
        return subprocess.Popen(
            [self._scratch.path("/opt/pgcast/bin") / name, *others, *(words or self._stage.command("CMD"))],
            env=self._environment,
            cwd=self._scratch.root,
            user=NOBODY if is_root else None,
            group=NOBODY if is_root else None,
            extra_groups=[] if is_root else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> tuple[int, str]:
        process = self.start(*words)
        said, _ = process.communicate(timeout=STOP_S)
        return process.returncode, said


def assert_holds_what_was_locked_and_no_more(built: Scratch):
    site = next(built.path("/opt/pgcast/lib").glob("python*/site-packages"))
    installed = {re.sub(r"[-_.]+", "-", path.name.rsplit("-", 2)[0]).lower() for path in site.glob("*.dist-info")}
    text = (ROOT / "requirements/runtime.txt").read_text()
    locked = re.findall(r"^([a-z0-9-]+)(?:\[\w+\])?==[^;\n]+(;?)", text, re.MULTILINE)
    assert installed <= {"pgcast", *(name for name, _ in locked)}
    # What has a condition may be for other systems.
    assert {name for name, condition in locked if not condition} <= installed
    assert not (site / "pip").exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_the_image_holds_what_was_locked_and_serves_with_the_variables_of_the_original_quick_start(
    built: Scratch, stages: tuple[Stage, Stage], cluster: Cluster, published: Database
):
    assert_holds_what_was_locked_and_no_more(built)
    port = free_port()
    quick_start = {
        "DB_HOST": "127.0.0.1",
        "DB_NAME": published.name,
        "DB_USER": "postgres",
        "DB_PASSWORD": cluster.password,
        "DB_PORT": str(cluster.port),
        "PORT": str(port),
        "JWT_SECRET": "SOMETHING_SUPER_SECRET",
        "SECURE_CHANNELS": "false",
    }
    container = Container(built, stages[1], quick_start)
    before = {path: path.lstat().st_mtime_ns for path in built.root.rglob("*")}
    process = container.start()
    try:
        _wait_until_ready(process, port)
        async with RealtimeClient(f"ws://127.0.0.1:{port}/socket/websocket") as client:
            await client.join("realtime:room", {"event": "*", "schema": "public"})
            published.execute("insert into todos values (1, 'milk')")
            assert (await client.change())["data"]["record"]["title"] == "milk"
        health = _words_of_health_check(stages[1])
        assert container.run(*health) == (0, "ready\n")
    finally:
        process.send_signal(getattr(signal, stages[1].last("STOPSIGNAL")))
        said, _ = process.communicate(timeout=STOP_S)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    # A root file system that nobody may write to would have done.
    assert {path: path.lstat().st_mtime_ns for path in built.root.rglob("*")} == before
    code, said = container.run(*health)
    assert code == 1
    assert "no server at 127.0.0.1" in said


def _wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[0])


def _words_of_health_check(stage: Stage) -> list[str]:
    found = re.fullmatch(r'.* CMD \["pgcast", "(\w+)"\]', stage.last("HEALTHCHECK"))
    assert found is not None
    return [found[1]]


def test_the_final_stage_runs_as_nobody_in_particular_and_compiles_nothing(stages: tuple[Stage, Stage]):
    build, final = stages
    assert build.name == "build"
    assert build.base == final.base == "${PYTHON}"
    assert final.last("USER") == "10001:10001"
    assert final.all("COPY") == ["--from=build /opt/pgcast /opt/pgcast"]
    assert [text.split()[0] for text in final.all("RUN")] == ["groupadd", "install"]
    assert not any("apt" in text or "gcc" in text for stage in stages for text in stage.all("RUN"))
    assert final.command("ENTRYPOINT") == ["pgcast"]
    assert final.command("CMD") == ["serve"]
    assert final.last("EXPOSE") == "4000"
    assert not {name for name in final.variables() if name in variables()}, "settings are the user's"


def test_every_package_of_the_build_is_locked_with_its_hash(stages: tuple[Stage, Stage]):
    installing = [text for text in stages[0].all("RUN") if " install " in text]
    for text in installing:
        assert "--require-hashes --no-deps --only-binary :all:" in text or "--no-deps --no-index" in text
    dev, build = ((ROOT / f"requirements/{name}.txt").read_text() for name in ("dev", "build"))
    assert set(re.findall(r"^\S+==\S+", build, re.MULTILINE)) <= set(re.findall(r"^\S+==\S+", dev, re.MULTILINE))


@pytest.mark.parametrize(
    ("path", "is_in"),
    [
        ("src/pgcast/app.py", True),
        ("requirements/runtime.txt", True),
        ("requirements/dev.txt", False),
        ("src/pgcast/__pycache__/app.pyc", False),
        (".git/config", False),
        (".env", False),
        (".venv/bin/python", False),
        ("tests/conftest.py", False),
    ],
)
def test_the_context_is_what_the_build_needs(path: str, is_in: object):
    assert is_in_context(path, ROOT / ".dockerignore") is is_in


def test_the_version_of_python_is_the_oldest_that_is_supported(stages: tuple[Stage, Stage]):
    found = re.search(r"^ARG PYTHON=python:(\d+\.\d+)-slim", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    assert f'requires-python = ">={found[1]}"' in (ROOT / "pyproject.toml").read_text()
