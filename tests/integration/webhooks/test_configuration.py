"""CONFIGURATION_FILE on a running server: what is wrong is named, refused, and changes nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from fix_clients import Schema
from fix_node import clean_environment, free_port
from fix_webhooks import Hooks
from pgcast.app import Server
from pgcast.devdb.template import Database
from pgcast.settings import read_settings
from realtime_client import RealtimeClient
from receiver import Receiver, to


def serve(dsn: str, file: Path, **environment: str) -> tuple[int, str]:
    """Run `pgcast serve` until it gives up; return its exit code and what it said, the log left out."""
    port = free_port()
    done = subprocess.run(
        [sys.executable, "-m", "pgcast", "serve"],
        env={
            **clean_environment(),
            "DATABASE_URL": dsn,
            "PORT": str(port),
            "SLOT_NAME": f"pgcast_{port}",
            "CONFIGURATION_FILE": str(file),
            "PGCAST_STATE_DIR": str(file.parent / "state"),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert "Traceback" not in done.stderr, done.stderr
    assert len(said) == 2, done.stderr
    return done.returncode, said[0]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "CONFIGURATION_FILE: webhooks[0]: Object missing required field `config`"),
        ({"config": {}}, "CONFIGURATION_FILE: webhooks[0].config: Object missing required field `endpoint`"),
        (
            {"config": {"endpoint": "http://127.0.0.1:1/secret"}},
            (
                "CONFIGURATION_FILE: webhooks[0].config.endpoint: 127.0.0.1 is no public address; allow it with "
                "PGCAST_WEBHOOK_ALLOW=127.0.0.1"
            ),
        ),
        (
            {"config": {"endpoint": "http://hooks.example/"}, "relation": "public:todos", "filter": "colour=eq.red"},
            "CONFIGURATION_FILE: webhooks[0].filter: invalid column for filter colour",
        ),
        (
            {"config": {"endpoint": "http://hooks.example/"}, "relation": "public:nothing", "filter": "id=eq.1"},
            "CONFIGURATION_FILE: webhooks[0].filter: no published table matches public:nothing: it cannot be checked",
        ),
    ],
)
def test_a_server_does_not_start_with_a_webhook_that_it_cannot_serve(
    item: dict[str, object], message: str, published: Database, tmp_path: Path
):
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps({"webhooks": [item]}))
    assert serve(published.dsn, file) == (2, f"pgcast: {message}")


def test_a_server_does_not_start_where_it_cannot_keep_deliveries(published: Database, tmp_path: Path):
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps({"webhooks": [{"config": {"endpoint": "http://hooks.example/"}}]}))
    folder = tmp_path / "state" / "webhooks"
    folder.parent.mkdir()
    folder.write_text("no folder")
    assert serve(published.dsn, file) == (
        2,
        (
            f"pgcast: PGCAST_STATE_DIR: webhooks need a folder for their spools, and {folder} cannot be written to: "
            "File exists"
        ),
    )


def test_a_server_does_not_start_where_no_certificate_could_be_verified(published: Database, tmp_path: Path):
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps({"webhooks": [{"config": {"endpoint": "https://hooks.example/"}}]}))
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.touch()
    for path, reason in ((missing, "No such file or directory"), (empty, "no certificate")):
        code, said = serve(published.dsn, file, SSL_CERT_FILE=str(path))
        assert code == 2
        assert said.startswith("pgcast: webhooks: the certificates to trust cannot be read: ")
        assert reason in said


def test_a_mistake_in_a_changed_file_changes_nothing(hooks: Hooks, schema: Schema, receiver: Receiver):
    hooks.configure(to(receiver, schema))
    for content, says in (
        ("{", "not JSON: Expecting property name enclosed in double quotes (line 1, column 2)"),
        ('{"webhook": []}', "Object contains unknown field `webhook`; known here: webhooks, realtime"),
        (
            json.dumps({"webhooks": [to(receiver, schema, filter="id=eq.many", relation=f"{schema.name}:todos")]}),
            'webhooks[0].filter: invalid input syntax for type bigint: "many"',
        ),
        (json.dumps({"webhooks": [{"config": {"endpoint": "https://10.1.2.3/x"}}]}), "webhooks[0].config.endpoint: "),
    ):
        hooks.file.write_text(content)
        line = json.loads(hooks.reload("the configuration is refused"))
        assert line["error"].startswith(f"CONFIGURATION_FILE: {says}"), line
    hooks.file.unlink()
    assert "cannot read" in hooks.reload("the configuration is refused")
    schema.execute("insert into todos values (1)")
    assert receiver.wait_for(1)[0].row_ids == [1]


def test_an_endpoint_that_is_taken_out_keeps_what_waits_and_is_told_of(
    hooks: Hooks, schema: Schema, receiver: Receiver
):
    receiver.answer = lambda _number, _post: 503
    hooks.configure(to(receiver, schema, name="taken-out"))
    schema.execute("insert into todos values (1)")
    receiver.wait_for_posts(1)
    before = len(hooks.node.log())
    hooks.configure()
    line = json.loads(hooks.wait_for_log("an endpoint that is not configured any more", after=before))
    assert (line["webhook"], line["waiting"], line["dead"]) == ("taken-out", 1, 0)
    assert Path(line["file"]).is_file()
    schema.execute("insert into todos values (2)")
    receiver.answer = lambda _number, _post: 204
    hooks.configure(to(receiver, schema, name="taken-out"))
    schema.execute("insert into todos values (3)")
    assert [post.row_ids for post in receiver.wait_for(2)] == [[1], [3]]


@pytest.fixture
def _garbage_as_before() -> Iterator[None]:
    """A server sets the collector to its own taste, and this one runs in our process."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("_garbage_as_before")
async def test_a_reload_that_is_wanted_before_the_server_is_up_is_not_forgotten(published: Database, tmp_path: Path):
    file = tmp_path / "configuration.json"
    file.write_text("{}")
    server = Server(
        read_settings(
            {"DATABASE_URL": published.dsn, "PORT": "0", "CONFIGURATION_FILE": str(file), "SLOT_NAME": "early"}
        )
    )
    with structlog.testing.capture_logs() as said:
        running = asyncio.create_task(server.run())
        server.reload()
        async with asyncio.timeout(10):
            while not any(line["event"] == "the configuration was read again" for line in said):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        server.stop()
        await running


def test_a_changed_filter_and_a_new_webhook_count_from_the_reload_on(hooks: Hooks, schema: Schema, receiver: Receiver):
    relation = f"{schema.name}:todos"
    with Receiver() as other:
        hooks.configure(to(receiver, schema, relation=relation, filter="id=lt.10"))
        schema.execute("insert into todos values (1), (11)")
        receiver.wait_for(1)
        hooks.configure(
            to(receiver, schema, relation=relation, filter="id=gt.10"), to(other, schema, relation=relation)
        )
        schema.execute("insert into todos values (2), (12)")
        assert [post.row_ids for post in receiver.wait_for(2)] == [[1], [12]]
        assert [post.row_ids for post in other.wait_for(1)] == [[2, 12]]
        hooks.configure(to(other, schema, relation=relation))
        schema.execute("insert into todos values (13)")
        assert other.wait_for(2)[1].row_ids == [13]
        assert len(receiver.posts) == 2
        hooks.configure()


async def test_only_the_oldest_topics_that_the_file_names_are_served(hooks: Hooks, schema: Schema):
    hooks.configure(
        realtime=[
            {"relation": f"{schema.name}:todos", "events": ["INSERT"]},
            {"relation": f"{schema.name}:*:id", "events": ["*"]},
        ]
    )
    topics = ["*", schema.name, f"{schema.name}:todos", f"{schema.name}:notes", f"{schema.name}:todos:id=eq.1"]
    topics += [f"{schema.name}:todos:title=eq.milk"]
    async with RealtimeClient(hooks.node.url, vsn=None) as client:
        for topic in topics:
            await client.push(f"realtime:{topic}", "phx_join", {})
            reply = await client.receive_until(lambda message: message["event"] == "phx_reply")
            assert reply["payload"]["status"] == "ok"
        schema.execute("insert into todos values (1, 'milk'); insert into notes values (1)")
        schema.execute("delete from todos; insert into todos values (2, 'end')")
        seen = []
        while len(seen) < 4:
            message = await client.receive_until(lambda message: message["event"] in {"INSERT", "DELETE", "UPDATE"})
            seen.append((message["topic"].removeprefix(f"realtime:{schema.name}:"), message["event"]))
    assert sorted(seen) == [
        ("todos", "INSERT"),
        ("todos", "INSERT"),
        ("todos:id=eq.1", "DELETE"),
        ("todos:id=eq.1", "INSERT"),
    ]


def test_a_server_whose_terminal_is_closed_ends(published: Database):
    ours, theirs = pty.openpty()
    port = free_port()
    # The child makes the terminal its own before it becomes the server.
    begin = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", begin, sys.executable, "-m", "pgcast", "serve"],
        env={**clean_environment(), "DATABASE_URL": published.dsn, "PORT": str(port), "SLOT_NAME": f"pgcast_{port}"},
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    assert process.stderr is not None
    try:
        while "listening" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        while "there is nothing to read again" not in process.stderr.readline():
            assert process.poll() is None
        os.close(ours)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
