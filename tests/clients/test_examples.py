"""The examples that the documentation shows: each is run as it stands, against a server, and prints what it should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fix_node import Node, NodeFactory, clean_environment
from programs import Program

if TYPE_CHECKING:
    from pgcast.devdb.template import Database

ROOT = Path(__file__).parents[2]
JS = ROOT / "tests/clients/js"

# What runs an example, by its folder, and where its client is told that the server is.
PROGRAMS = {
    "javascript": (["node", "--import", str(JS / "websocket.mjs")], "http://127.0.0.1:{port}"),
    "python": ([str(ROOT / ".venv/realtime-2.34.1/bin/python"), "-u"], "ws://127.0.0.1:{port}/socket"),
}


class Example(Program):
    """A running example."""

    def __init__(self, name: str, node: Node, folder: Path, *, key: str = "none") -> None:
        program, url = PROGRAMS[name.partition("/")[0]]
        # JavaScript finds packages from where the file is.
        script = folder / Path(name).name
        script.write_text((ROOT / "examples" / name).read_text())
        (folder / "node_modules").symlink_to(JS / "node_modules")
        super().__init__(
            [*program, str(script)],
            {**clean_environment(), "PGCAST_URL": url.format(port=node.port), "PGCAST_KEY": key},
        )


@pytest.mark.parametrize(
    "name",
    [
        "javascript/listen.mjs",
        "javascript/resume.mjs",
        "javascript/since.mjs",
        "python/listen.py",
        "python/position.py",
        "python/resume.py",
    ],
)
def test_an_example_tells_of_each_kind_of_change(name: str, published: Database, node: Node, tmp_path: Path):
    published.execute("insert into todos (id, title) values (1, 'milk')")
    with Example(name, node, tmp_path) as example:
        example.wait_for("subscribed")
        published.execute("insert into todos (id, title) values (2, 'bread')")
        example.wait_for("insert", "bread")
        published.execute("update todos set done = true where id = 2")
        example.wait_for("update", "bread")
        published.execute("delete from todos where id = 2")
        example.wait_for("delete")
    if "resume" not in name:  # just after a start, an unknown id may be that of somebody who comes back
        assert "milk" not in "".join(example.said)


@pytest.mark.parametrize("name", ["javascript/broadcast.mjs", "python/broadcast.py"])
def test_an_example_hears_what_is_broadcast(name: str, node: Node, tmp_path: Path):
    with Example(name, node, tmp_path) as example:
        example.wait_for("subscribed")
        example.wait_for("cursor", "3", "4")
        sent = subprocess.run(
            [sys.executable, str(ROOT / "examples/python/http_broadcast.py")],
            env={**clean_environment(), "PGCAST_ADDRESS": f"127.0.0.1:{node.port}"},
            capture_output=True,
            check=True,
            text=True,
        )
        assert sent.stdout == "202\n"
        example.wait_for("cursor", "5", "6")


def test_the_example_of_presence_tells_who_is_there(node: Node, tmp_path: Path):
    with Example("javascript/presence.mjs", node, tmp_path) as example:
        example.wait_for("subscribed")
        example.wait_for("came: ada")
        example.wait_for("here:", "typing")


def test_the_token_of_the_example_is_accepted(published: Database, start_node: NodeFactory, tmp_path: Path):
    secret = "a-secret-of-at-least-32-characters"
    made = subprocess.run(
        [sys.executable, str(ROOT / "examples/python/make_token.py")],
        env={**clean_environment(), "JWT_SECRET": secret},
        capture_output=True,
        check=True,
        text=True,
    )
    node = start_node(published.dsn, JWT_SECRET=secret, PGCAST_BIND="127.0.0.1")
    with Example("python/listen.py", node, tmp_path, key=made.stdout.strip()) as example:
        example.wait_for("subscribed")


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["javascript/resume.mjs", "javascript/since.mjs", "python/position.py", "python/resume.py"]
)
def test_an_example_that_resumes_misses_nothing_when_the_server_is_killed(
    name: str, published: Database, start_node: NodeFactory, tmp_path: Path
):
    node = start_node(published.dsn)
    with Example(name, node, tmp_path) as example:
        example.wait_for("subscribed")
        published.execute("insert into todos (id, title) values (1, 'before')")
        example.wait_for("insert", "before")
        node.kill()
        published.execute("insert into todos (id, title) values (2, 'while away')")
        node.start()
        example.wait_for("insert", "while away")
        published.execute("insert into todos (id, title) values (3, 'afterwards')")
        example.wait_for("insert", "afterwards")
