"""From a committed row to a client's message, over real sockets and a real Postgres."""

from __future__ import annotations

from pathlib import Path

import pytest

from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

TODOS = {"event": "*", "schema": "public", "table": "todos"}


async def test_insert_update_and_delete_reach_a_client(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        response = await client.join("realtime:room", TODOS)
        (echo,) = response["postgres_changes"]
        assert {key: echo[key] for key in TODOS} == TODOS
        published.execute("insert into todos values (1, 'milk')")
        published.execute("update todos set done = true where id = 1")
        published.execute("delete from todos where id = 1")
        inserted = await client.change()
        updated, deleted = await client.changes(2)
    assert inserted["ids"] == [echo["id"]]
    assert inserted["data"]["record"] == {"id": 1, "title": "milk", "done": False}
    assert "old_record" not in inserted["data"]
    assert inserted["data"]["columns"] == [
        {"name": "id", "type": "int8"},
        {"name": "title", "type": "text"},
        {"name": "done", "type": "bool"},
    ]
    assert (updated["type"], updated["record"]["done"], updated["old_record"]) == ("UPDATE", True, {"id": 1})
    assert (deleted["type"], deleted["old_record"], "record" in deleted) == ("DELETE", {"id": 1}, False)
    assert inserted["data"]["position"] < updated["position"] < deleted["position"]


async def test_the_oldest_protocol_gets_four_kinds_of_topic(node: Node, published: Database, postgres_version: int):
    topics = ["realtime:*", "realtime:public", "realtime:public:todos", "realtime:public:todos:id=eq.1"]
    async with RealtimeClient(node.url, vsn="1.0.0") as client:
        for topic in topics:
            ref = await client.push(topic, "phx_join", {})
            reply = await client.receive()
            assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok")
        published.execute("insert into todos values (1, 'milk')")
        got = [await client.receive() for _ in topics]
        assert sorted(message["topic"] for message in got) == sorted(topics)
        assert {message["event"] for message in got} == {"INSERT"}
        assert got[0]["payload"]["record"] == {"id": 1, "title": "milk", "done": False}
        published.execute("insert into todos values (2, 'tea')")
        got = [await client.receive() for _ in topics[:3]]
        assert sorted(message["topic"] for message in got) == sorted(topics[:3])
        if postgres_version >= 11:  # before, it is not published
            published.execute("truncate todos")
            got = [await client.receive() for _ in topics[:3]]
            assert {message["event"] for message in got} == {"TRUNCATE"}


async def test_a_filter_lets_only_equal_rows_through(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "filter": "id=eq.2"}, {**TODOS, "filter": "title=eq.milk"})
        published.execute("insert into todos values (1, 'tea'), (2, 'milk'), (3, 'milk'), (4, null)")
        first = await client.change()
        second = await client.change()
        assert (first["data"]["record"]["id"], len(first["ids"])) == (2, 2)
        assert (second["data"]["record"]["id"], len(second["ids"])) == (3, 1)
        await client.nothing_more()


async def test_a_value_of_five_megabytes_goes_through(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, repeat('0123456789', 500000))")
        change = await client.change()
    assert len(change["data"]["record"]["title"]) == 5_000_000


async def test_a_table_made_after_the_join_is_followed_at_once(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public"})
        published.execute('create table "made Later" (id int primary key, "wert in €" numeric)')
        published.execute("""insert into "made Later" values (1, 9.90)""")
        change = await client.change()
    assert change["data"]["table"] == "made Later"
    assert change["data"]["record"] == {"id": 1, "wert in €": 9.90}


async def test_a_table_made_right_before_the_join_is_known(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:earlier", TODOS)
        published.execute("create table fresh (id int primary key)")
        await client.join("realtime:room", {**TODOS, "table": "fresh", "filter": "id=eq.1"})
        published.execute("insert into fresh values (1)")
        assert (await client.change())["data"]["record"] == {"id": 1}


async def test_a_join_means_from_now_on(node: Node, published: Database):
    published.execute("insert into todos values (1, 'before')")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (2, 'after')")
        change = await client.change()
        assert change["data"]["record"]["id"] == 2
        await client.nothing_more()


async def test_a_transaction_that_was_open_at_the_join_is_delivered(node: Node, published: Database):
    connection = published.connect()
    connection.autocommit = False
    connection.execute("insert into todos values (1, 'open before the join')")
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        connection.commit()
        change = await client.change()
    connection.close()
    assert change["data"]["record"]["id"] == 1


@pytest.mark.slow
async def test_a_write_right_after_the_reply_is_always_delivered(node: Node, published: Database):
    connection = published.connect()
    async with RealtimeClient(node.url) as client:
        for number in range(1000):
            topic = f"realtime:room:{number}"
            await client.join(topic, {"event": "INSERT", "schema": "public", "table": "todos"}, subscribed=False)
            connection.execute("insert into todos values (%s, 'x')", (number,))
            change = await client.change(5)
            assert change["data"]["record"]["id"] == number
            await client.push(topic, "phx_leave")
    connection.close()


async def test_since_gives_what_came_after_a_position_and_goes_on(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos select n, 'x' from generate_series(1, 10) n")
        changes = await client.changes(10)
    async with RealtimeClient(node.url) as client:
        response = await client.join("realtime:room", {**TODOS, "since": changes[3]["position"]})
        assert response["postgres_changes"][0]["since"] == changes[3]["position"]
        published.execute("insert into todos values (11, 'x')")
        got = await client.changes(7)
        await client.nothing_more()
    assert [change["record"]["id"] for change in got] == [5, 6, 7, 8, 9, 10, 11]


async def test_since_a_commit_timestamp_includes_that_moment(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        for number in range(1, 4):
            published.execute("insert into todos values (%s, pg_sleep(0.01)::text)", (number,))
        changes = await client.changes(3)
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": changes[1]["commit_timestamp"]})
        assert [change["record"]["id"] for change in await client.changes(2)] == [2, 3]


@pytest.mark.parametrize("since", ["0a0b0c0d-0000000000000001-00000000", "1999-01-01T00:00:00Z"])
async def test_a_place_that_is_no_longer_held_is_told(node: Node, published: Database, since: str):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": since})
        gap = await client.receive_until(lambda message: message["event"] == "system")
        assert gap["payload"]["code"] == "GapDetected"
        assert (gap["payload"]["status"], gap["payload"]["extension"]) == ("ok", "system")
        assert gap["payload"]["message"].startswith(f"GapDetected: changes before {gap['payload']['oldest']}")
        published.execute("insert into todos values (1, 'live')")
        assert (await client.change())["data"]["record"]["id"] == 1


async def test_a_since_that_cannot_be_read_is_a_parameter_error(node: Node):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "since": "yesterday"}, subscribed=False)
        system = await client.receive_until(lambda message: message["event"] == "system")
    assert system["payload"]["status"] == "error"
    assert system["payload"]["message"].startswith("Error parsing `since` params: 'yesterday' is neither")


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        (
            {"event": "*", "schema": "public", "table": "nope"},
            "for the given connect parameters: [event: *, schema: public, table: nope, filters: [], select: nil]",
        ),
        ({**TODOS, "filter": "nope=eq.1"}, "Exception: invalid column for filter nope"),
        ({**TODOS, "filter": "id=eq.one"}, "Exception: invalid input syntax for "),
        ({**TODOS, "filter": "id"}, "Error parsing `filter` params: 'id' is not column=operator.value"),
    ],
)
async def test_a_binding_that_cannot_be_served_is_said(node: Node, binding: dict[str, str], message: str):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", binding, subscribed=False)
        system = await client.receive_until(lambda message: message["event"] == "system")
    assert system["payload"]["status"] == "error"
    assert message in system["payload"]["message"]


async def test_text_values_for_the_oldest_clients(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, PGCAST_LEGACY_VALUES="text")
    async with RealtimeClient(node.url, vsn="1.0.0") as client:
        await client.push("realtime:public:todos", "phx_join", {})
        await client.receive()
        published.execute("insert into todos values (1, 'milk')")
        message = await client.receive()
    assert message["payload"]["record"] == {"id": "1", "title": "milk", "done": "f"}


async def test_a_change_over_the_limit_comes_shortened_to_everybody(published: Database, start_node: NodeFactory):
    node = start_node(published.dsn, MAX_RECORD_BYTES="1000")
    async with RealtimeClient(node.url) as client, RealtimeClient(node.url, vsn="1.0.0") as old:
        await client.join("realtime:room", {**TODOS, "filter": "title=like.x%"})
        await old.push("realtime:public:todos", "phx_join", {})
        await old.receive()
        published.execute("insert into todos values (1, repeat('x', 1000))")
        published.execute("update todos set title = 'xyz'")
        long, short = await client.changes(2)
        legacy = (await old.receive())["payload"]
    assert long["record"] == legacy["record"] == {"id": 1, "done": False}
    assert long["errors"] == legacy["errors"] == ["Error 413: Payload Too Large"]
    assert len(long["columns"]) == len(legacy["columns"]) == 3
    assert (short["record"]["title"], short["errors"]) == ("xyz", None)


async def test_a_client_that_closes_with_1009_gets_less_from_then_on_also_after_a_restart(
    published: Database, start_node: NodeFactory, tmp_path: Path
):
    node = start_node(published.dsn, PGCAST_STATE_DIR=str(tmp_path / "state"))
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, repeat('x', 1048576))")
        (whole,) = await client.changes(1)
        assert whole["errors"] is None
        await client.socket.close(1009)
    node.stop()
    node.start()
    async with RealtimeClient(node.url, resume="tab-1") as client:
        await client.join("realtime:room", TODOS)
        (short,) = await client.changes(1)
        assert short["errors"] == ["Error 413: Payload Too Large"]
        assert short["record"] == {"id": 1, "done": False}
