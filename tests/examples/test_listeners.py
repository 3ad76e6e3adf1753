"""The listeners on the console, each against a demo of its own folder, as its README says."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from fix_clients import installed
from fix_demo import Demo
from fix_node import clean_environment
from programs import Program

ROOT = Path(__file__).parents[2]
JS = ROOT / "tests/clients/js"


def start(demos: list[Demo], example: str) -> Demo:
    demo = Demo("--port", "0", "--folder", str(ROOT / "examples" / example))
    demos.append(demo)
    demo.wait_until_serving()
    return demo


def listener(demo: Demo, example: str, folder: Path, client: str = "@supabase/realtime-js") -> Program:
    """The example's program; Node's run in a copy, beside the packages that `npm install` would put there."""
    environment = {**clean_environment(), "PGCAST_URL": f"ws://127.0.0.1:{demo.port}/socket"}
    source = ROOT / "examples" / example
    if (source / "listen.py").exists():
        return Program([installed(".venv/realtime-2.34.1/bin/python"), str(source / "listen.py")], environment)
    shutil.copy(source / "listen.mjs", folder)
    package = folder / "node_modules/@supabase/realtime-js"
    package.parent.mkdir(parents=True)
    package.symlink_to(Path(installed("tests/clients/js/node_modules")) / client)
    return Program(["node", "--import", str(JS / "websocket.mjs"), "listen.mjs"], environment, folder)


@pytest.mark.parametrize("example", ["02-node", "03-python"])
def test_a_listener_tells_of_every_change_and_of_the_todos_of_one_user(example: str, demos: list[Demo], tmp_path: Path):
    demo = start(demos, example)
    with listener(demo, example, tmp_path) as program, psycopg.connect(demo.dsn, autocommit=True) as connection:
        program.wait_for("subscribed")
        connection.execute("insert into todos (user_id, title) values (2, 'see it arrive')")
        program.wait_for("insert", "see it arrive")
        connection.execute("update todos set done = true where user_id in (1, 2)")
        program.wait_for("done by user 2", "buy milk")
        program.wait_for("done by user 2", "see it arrive")
        connection.execute("delete from todos where user_id = 2")
        program.wait_for("delete")
    assert "done by user 2: call Mei" not in "".join(program.said)


def test_each_of_the_four_old_topics_gets_what_it_names(demos: list[Demo], tmp_path: Path):
    everything, schema, table = "realtime:*", "realtime:public", "realtime:public:todos"
    topics = [everything, schema, table, "realtime:public:todos:user_id=eq.2"]
    demo = start(demos, "07-legacy")
    with (
        listener(demo, "07-legacy", tmp_path, "realtime-js-1-7-5") as program,
        psycopg.connect(demo.dsn, autocommit=True) as connection,
    ):
        for _ in topics:
            program.wait_for("joined")
        connection.execute("insert into todos (user_id, title) values (2, 'arrives four times')")
        arrived = {program.wait_for("four times").split()[0] for _ in topics}
        assert arrived == set(topics)
        connection.execute("insert into users (name) values ('arrives twice')")
        assert {program.wait_for("twice").split()[0] for _ in range(2)} == {everything, schema}
        connection.execute("delete from todos where user_id = 1")  # not the last topic's
        connection.execute("insert into todos (user_id, title) values (2, 'the end')")
        while "=eq.2" not in program.wait_for("the end"):
            pass
    deleted = [line.split()[0] for line in program.said if "DELETE" in line]
    assert sorted(deleted) == sorted([everything, schema, table] * 2)


def test_the_packages_are_those_that_the_clients_tests_use():
    locked = (JS / "package.json").read_text()
    assert '"@supabase/realtime-js": "2.119.1"' in locked
    assert '"@supabase/realtime-js": "2.119.1"' in (ROOT / "examples/02-node/package.json").read_text()
    assert '"npm:@supabase/realtime-js@1.7.5"' in locked
    assert '"@supabase/realtime-js": "1.7.5"' in (ROOT / "examples/07-legacy/package.json").read_text()
