"""`pgcast demo` as people start it: a process of its own, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from fix_demo import Demo, processes_with
from fix_node import free_port
from realtime_client import RealtimeClient


async def test_it_serves_a_page_and_every_kind_of_change_and_ends_after_its_duration(demos: list[Demo]):
    demo = Demo("--port", "0", "--duration", "6", "--rate", "20", DB_HOST="nowhere.invalid", DB_PORT="no port")
    demos.append(demo)
    demo.wait_until_serving()
    status, kind, body = demo.get("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"pgcast" in body
    assert demo.get("/inspector/app.js")[1].startswith("text/javascript")
    kinds = {}
    async with RealtimeClient(demo.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        while len(kinds) < 3:
            (change,) = await client.changes(1)
            kinds[change["type"]] = change
    assert kinds.keys() == {"INSERT", "UPDATE", "DELETE"}
    # The old row is whole.
    assert kinds["UPDATE"]["old_record"].keys() == kinds["UPDATE"]["record"].keys()
    assert demo.end() == (0, "")
    demo.assert_nothing_is_left()


async def test_the_rows_and_the_changes_since_the_join_make_up_the_tables(demos: list[Demo]):
    demo = Demo("--port", "0", "--rate", "100")
    demos.append(demo)
    demo.wait_until_serving()
    async with RealtimeClient(demo.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        tables = json.loads(demo.get("/demo/rows")[2])["tables"]
        assert [(table["table"], table["key"]) for table in tables] == [("orders", ["id"]), ("couriers", ["id"])]
        rows = {(table["table"], row["id"]): row for table in tables for row in table["rows"]}
        with psycopg.connect(demo.dsn, autocommit=True) as connection:
            await asyncio.sleep(1)
            with connection.transaction():
                # Others write before this transaction or after it, and its own insert marks the place in the stream.
                connection.execute("lock table orders, couriers in share mode")
                held = {
                    (name, row["id"]): row
                    for name in ("orders", "couriers")
                    for (row,) in connection.execute(f"select to_jsonb(t) from {name} t").fetchall()
                }
                connection.execute("insert into orders (dish, total) values ('the last', 1)")
            while True:
                (change,) = await client.changes(1)
                if change["type"] == "DELETE":
                    rows.pop((change["table"], change["old_record"]["id"]), None)
                    continue
                if change["record"].get("dish") == "the last":
                    break
                rows[change["table"], change["record"]["id"]] = change["record"]
    assert rows == held
    assert 6 <= sum(name == "orders" for name, _ in held) <= 12
    assert 5 <= sum(name == "couriers" for name, _ in held) <= 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_good_order(demos: list[Demo], number: int):
    demo = Demo("--port", "0")
    demos.append(demo)
    demo.wait_until_serving()
    async with RealtimeClient(demo.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        demo.process.send_signal(number)
        # The loop stays free, for the client's part of the farewell.
        assert await asyncio.to_thread(demo.end) == (0, "")
    demo.assert_nothing_is_left()


@pytest.mark.parametrize("after_s", [0.1, 0.4, 0.8])
def test_a_signal_while_it_starts_ends_it_in_good_order(demos: list[Demo], after_s: float):
    # Not tmp_path, whose name is too long for a unix socket.
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        Path(folder).chmod(0o755)
        demo = Demo("--port", "0", TMPDIR=folder)
        demos.append(demo)
        demo.read_until("starting")
        time.sleep(after_s)
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == (0, "")
        assert list(Path(folder).glob("pgcast-*/run-*")) == []
        assert processes_with(folder) == []


def test_a_port_that_is_taken_is_said_in_one_line(demos: list[Demo]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = Demo(PORT=str(port))
        demos.append(demo)
        code, errors = demo.end()
    first, *rest = errors.splitlines()
    assert (code, first) == (2, f"pgcast: cannot listen on 127.0.0.1 port {port}: Address already in use")
    assert len(rest) == 1
    assert rest[0].startswith("  fix: set PORT")


def test_the_port_that_was_asked_for_is_taken(demos: list[Demo]):
    port = free_port()
    demo = Demo("--port", str(port), "--duration", "0.1", "--rate", "0")
    demos.append(demo)
    demo.wait_until_serving()
    assert demo.port == port
    assert demo.end() == (0, "")


@pytest.mark.parametrize("options", [["--rate", "-1"], ["--duration", "soon"], ["--port", "70000"]])
def test_an_option_that_makes_no_sense_is_said(demos: list[Demo], options: list[str]):
    demo = Demo(*options)
    demos.append(demo)
    code, errors = demo.end()
    assert code == 2
    assert options[0] in errors


@pytest.mark.parametrize(
    ("sql", "words"),
    [(None, "has no init.sql"), ("create tabel t ()", 'syntax error at or near "tabel"'), ("\xff", "invalid byte")],
)
def test_a_folder_that_cannot_be_used_is_said_in_one_line(
    demos: list[Demo], tmp_path: Path, sql: str | None, words: str
):
    if sql is not None:
        (tmp_path / "init.sql").write_bytes(sql.encode("latin-1"))
    demo = Demo("--port", "0", "--folder", str(tmp_path))
    demos.append(demo)
    code, errors = demo.end()
    assert code == 1
    assert errors.startswith("pgcast: ")
    assert words in errors.splitlines()[0]
    assert "Traceback" not in errors


async def test_a_folder_without_a_page_is_shown_in_the_inspector(demos: list[Demo], tmp_path: Path):
    (tmp_path / "init.sql").write_text(
        "create table mine (id int primary key); create publication supabase_realtime for table mine"
    )
    demo = Demo("--port", "0", "--folder", str(tmp_path))
    demos.append(demo)
    demo.wait_until_serving()
    assert demo.get("/inspector/app.js")[0] == 200
    assert [table["table"] for table in json.loads(demo.get("/demo/rows")[2])["tables"]] == ["mine"]


async def test_a_table_that_somebody_adds_is_followed_and_a_table_that_is_missing_is_survived(demos: list[Demo]):
    demo = Demo("--port", "0", "--rate", "20")
    demos.append(demo)
    demo.wait_until_serving()
    async with RealtimeClient(demo.url) as client:
        await client.join("realtime:room", {"event": "INSERT", "schema": "public"})
        with psycopg.connect(demo.dsn, autocommit=True) as connection:
            connection.execute("drop table orders")
            connection.execute("create table mine (id int primary key, note text)")
            connection.execute("insert into mine values (1, 'here')")
        change = await client.receive_until(
            lambda message: message["event"] == "postgres_changes" and message["payload"]["data"]["table"] == "mine"
        )
    assert change["payload"]["data"]["record"] == {"id": 1, "note": "here"}
    assert demo.process.stderr is not None
    assert "the demo's writes pause" in demo.process.stderr.readline()
    demo.process.send_signal(signal.SIGINT)
    code, errors = demo.end()
    assert code == 0
    assert "Traceback" not in errors
