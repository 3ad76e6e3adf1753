"""Filters, column selection and rows that leave a filter: over real sockets and a real Postgres."""

from __future__ import annotations

import pytest

from fix_node import Node
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

TODOS = {"event": "*", "schema": "public", "table": "todos"}


async def test_conditions_of_all_kinds_choose_rows(node: Node, published: Database):
    filters = ["id=gte.2,id=lt.4", "title=like.t%", "or=(id.eq.1,title.is.null)", "title=not.in.(milk,tea)"]
    async with RealtimeClient(node.url) as client:
        response = await client.join("realtime:room", *({**TODOS, "filter": one} for one in filters))
        ids = [echo["id"] for echo in response["postgres_changes"]]
        published.execute("insert into todos values (1, 'milk'), (2, 'tea'), (3, 'water'), (4, null), (5, 'milk')")
        got = {change["data"]["record"]["id"]: change["ids"] for change in [await client.change() for _ in range(4)]}
        assert got == {1: [ids[2]], 2: [ids[0], ids[1]], 3: [ids[0], ids[3]], 4: [ids[2]]}
        await client.nothing_more()


async def test_what_only_postgres_can_say_is_asked_and_keeps_the_order(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        response = await client.join(
            "realtime:room", {**TODOS, "filter": "title=match.^t[ae]+$"}, {**TODOS, "filter": "id=lt.4"}
        )
        regex, plain = [echo["id"] for echo in response["postgres_changes"]]
        published.execute("insert into todos values (1, 'tea'), (2, 'milk'), (3, 'tae'), (4, 'ta'), (5, null)")
        published.execute("update todos set title = 'teee' where id = 2")
        got = [await client.change() for _ in range(5)]
        assert [(change["data"]["record"]["id"], change["ids"]) for change in got] == [
            (1, [regex, plain]),
            (2, [plain]),
            (3, [regex, plain]),
            (4, [regex]),
            (2, [regex, plain]),
        ]
        await client.nothing_more()


async def test_clients_that_ask_the_same_get_the_same_each_from_its_own_join_on(node: Node, published: Database):
    entry = {**TODOS, "filter": "title=match.^t"}
    async with RealtimeClient(node.url) as early, RealtimeClient(node.url) as other, RealtimeClient(node.url) as late:
        await early.join("realtime:room", entry)
        await other.join("realtime:room", entry)
        published.execute("insert into todos values (1, 'tea'), (2, 'milk')")
        (first,) = await early.changes(1)
        await late.join("realtime:room", entry)
        published.execute(
            "insert into todos select n, case when n % 2 = 0 then 'tea' end from generate_series(3, 700) n"
        )
        published.execute("insert into todos values (701, 'the end')")
        expected = [*range(4, 701, 2), 701]
        assert [change["record"]["id"] for change in await other.changes(1 + len(expected))] == [1, *expected]
        for client in (early, late):
            assert [change["record"]["id"] for change in await client.changes(len(expected))] == expected
            await client.nothing_more(0.2)
    assert first["record"]["id"] == 1


async def test_columns_are_chosen_and_the_key_is_always_there(node: Node, published: Database):
    published.execute("alter table todos replica identity full")
    async with RealtimeClient(node.url) as client:
        response = await client.join(
            "realtime:room", TODOS, {**TODOS, "select": ["title"]}, {**TODOS, "select": ["done"]}
        )
        ids = [echo["id"] for echo in response["postgres_changes"]]
        published.execute("insert into todos values (1, 'milk')")
        published.execute("update todos set done = true")
        published.execute("delete from todos")
        got = [await client.change() for _ in range(9)]
        whole, title, done = ([change["data"] for change in got if change["ids"] == [one]] for one in ids)
        await client.nothing_more()
    assert [change["type"] for change in title] == ["INSERT", "UPDATE", "DELETE"]
    assert [change["name"] for change in title[0]["columns"]] == ["id", "title"]
    assert title[0]["record"] == {"id": 1, "title": "milk"}
    assert title[1]["old_record"] == {"id": 1, "title": "milk"}
    assert done[1]["record"] == {"id": 1, "done": True}
    assert (done[2]["old_record"], "record" in done[2]) == ({"id": 1, "done": True}, False)
    assert whole[0]["record"] == {"id": 1, "title": "milk", "done": False}
    assert [change["position"] for change in whole] == [change["position"] for change in done]


async def test_the_past_is_filtered_and_cut_like_the_present(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:first", TODOS)
        published.execute("insert into todos values (1, 'milk')")
        (first,) = await client.changes(1)
        published.execute("insert into todos values (2, 'milk'), (3, 'tea'), (4, 'milk')")
        await client.changes(3)
        wanted = {**TODOS, "filter": "title=eq.milk", "select": ["id"], "since": first["position"]}
        await client.join("realtime:again", wanted)
        assert [change["record"] for change in await client.changes(2)] == [{"id": 2}, {"id": 4}]


@pytest.mark.parametrize("condition", ["title=eq.milk", "title=match.^milk$"])
async def test_a_row_that_leaves_a_filter_is_told(node: Node, published: Database, condition: str):
    published.execute("alter table todos replica identity full")
    async with RealtimeClient(node.url) as client:
        response = await client.join("realtime:room", {**TODOS, "filter": condition, "leave": True})
        (echo,) = response["postgres_changes"]
        assert echo["leave"] is True
        published.execute("insert into todos values (1, 'milk'), (2, 'tea')")
        published.execute("update todos set title = 'tea'")
        published.execute("update todos set title = null")
        published.execute("update todos set title = 'milk' where id = 2")
        entered, left, again = [await client.change() for _ in range(3)]
        await client.nothing_more()
    assert entered["data"]["type"] == "INSERT"
    assert "left" not in entered["data"]
    assert (left["ids"], left["data"]["left"], left["data"]["type"]) == ([echo["id"]], True, "UPDATE")
    assert left["data"]["record"] == {"id": 1, "title": "tea", "done": False}
    assert (again["data"]["record"]["id"], "left" in again["data"]) == (2, False)


async def test_who_cannot_be_told_of_a_row_that_leaves_is_told_that(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        binding = {**TODOS, "filter": "title=eq.milk,id=gt.0", "leave": True}
        await client.join("realtime:room", binding, subscribed=False)
        system = await client.receive_until(lambda message: message["event"] == "system")
        assert system["payload"]["message"] == "Subscribed to PostgreSQL"
        assert system["payload"]["note"] == (
            "`leave` is not told for public.todos (title): the old values are not in the WAL; "
            "run ALTER TABLE ... REPLICA IDENTITY FULL, or filter by columns of the key"
        )
        await client.join("realtime:other", {**TODOS, "filter": "id=eq.1", "leave": True}, subscribed=False)
        system = await client.receive_until(lambda message: message["event"] == "system")
        assert "note" not in system["payload"]
        published.execute("insert into todos values (1)")
        assert (await client.change())["data"]["record"]["id"] == 1
        published.execute("update todos set id = 2")
        assert (await client.change())["data"]["left"] is True


async def test_a_delete_is_filtered_by_what_the_old_row_carries(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", {**TODOS, "event": "DELETE", "filter": "id=gt.1,id=not.eq.3"})
        await client.join("realtime:title", {**TODOS, "event": "DELETE", "filter": "title=is.null"})
        published.execute("insert into todos values (1), (2), (3)")
        published.execute("delete from todos")
        assert (await client.change())["data"]["old_record"] == {"id": 2}
        await client.nothing_more()


async def test_what_cannot_be_served_is_said_in_a_system_message(node: Node):
    async with RealtimeClient(node.url) as client:
        for binding, text in (
            ({**TODOS, "filter": "title=match.("}, "invalid regular expression for match filter"),
            ({**TODOS, "select": ["nope"]}, "invalid column for select nope"),
            ({**TODOS, "filter": "id=in.1"}, "`in` filter value must be wrapped by parentheses"),
        ):
            await client.join("realtime:room", binding, subscribed=False)
            system = await client.receive_until(lambda message: message["event"] == "system")
            assert system["payload"]["status"] == "error"
            assert text in system["payload"]["message"]
