"""Topics and payloads of the original server that the tests of its clients do not show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from fix_node import Node, NodeFactory
from realtime_client import RealtimeClient

if TYPE_CHECKING:
    from fix_place import Place
    from pgcast.devdb.template import Database


class Old(RealtimeClient):
    """A client of the oldest protocol, by topics."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.url, vsn="1.0.0")

    async def joins(self, *topics: str) -> None:
        for topic in topics:
            ref = await self.push(topic, "phx_join", {}, join_ref=None)
            reply = await self.receive()
            assert (reply["ref"], reply["payload"]["status"]) == (ref, "ok"), reply

    async def gets(self, count: int) -> list[tuple[str, str, Any]]:
        """The next changes: topic, event, and the row's id."""
        messages = [await self.receive() for _ in range(count)]
        rows = [(message, message["payload"].get("record") or message["payload"]["old_record"]) for message in messages]
        return [(message["topic"], message["event"], row["id"]) for message, row in rows]


async def test_a_value_is_compared_as_postgres_prints_it(place: Place):
    place.execute("create table t (id int primary key, flag bool, price numeric(6, 2), note text)")
    table = f"realtime:{place.schema}:t"
    topics = [f"{table}:{condition}" for condition in ("flag=eq.t", "flag=eq.f", "price=eq.1.50", "note=eq.a b")]
    async with Old(place.node) as client:
        await client.joins(*topics)
        place.execute("insert into t values (1, true, 1.5, 'a b'), (2, false, 2, 'other'), (3, null, null, null)")
        got = await client.gets(4)
        await client.joins(table)
        place.execute("insert into t values (4, null, null, 'the end')")
        assert await client.gets(1) == [(table, "INSERT", 4)]
    assert sorted(got) == sorted((topic, "INSERT", number) for topic, number in zip(topics, (1, 2, 1, 1), strict=True))


async def test_null_is_equal_to_no_value(place: Place):
    place.execute("create table t (id int primary key, note text)")
    table = f"realtime:{place.schema}:t"
    async with Old(place.node) as client:
        await client.joins(f"{table}:note=eq.null", f"{table}:note=eq.", f"{table}:id=eq.2")
        place.execute("insert into t values (1, null), (2, 'x')")
        assert await client.gets(1) == [(f"{table}:id=eq.2", "INSERT", 2)]


async def test_values_longer_than_a_hundred_characters_are_found_too(place: Place):
    place.execute("create table t (id int primary key, note text)")
    topic = f"realtime:{place.schema}:t:note=eq.{'x' * 200}"
    async with Old(place.node) as client:
        await client.joins(topic)
        place.execute("insert into t values (1, repeat('x', 199)), (2, repeat('x', 200))")
        assert await client.gets(1) == [(topic, "INSERT", 2)]


async def test_an_update_is_of_its_new_row_and_a_delete_of_its_old_one(place: Place):
    place.execute("create table t (id int primary key, note text)")
    table = f"realtime:{place.schema}:t"
    first, second, by_key = (f"{table}:{condition}" for condition in ("note=eq.first", "note=eq.second", "id=eq.1"))
    async with Old(place.node) as client:
        await client.joins(first, second, by_key)
        place.execute("insert into t values (1, 'first')")
        assert sorted(await client.gets(2)) == sorted([(first, "INSERT", 1), (by_key, "INSERT", 1)])
        place.execute("update t set note = 'second'")
        assert sorted(await client.gets(2)) == sorted([(second, "UPDATE", 1), (by_key, "UPDATE", 1)])
        # The default identity knows the key of a deleted row alone.
        place.execute("delete from t")
        assert await client.gets(1) == [(by_key, "DELETE", 1)]
        place.execute("alter table t replica identity full")
        place.execute("insert into t values (2, 'second')")
        assert await client.gets(1) == [(second, "INSERT", 2)]
        place.execute("delete from t")
        assert await client.gets(1) == [(second, "DELETE", 2)]


async def test_names_with_colons_are_those_of_the_catalog(place: Place):
    place.execute('create table "a:b" (id int primary key); create table a (id int primary key)')
    table = f"realtime:{place.schema}:a:b"
    async with Old(place.node) as client:
        await client.joins(table, f"{table}:id=eq.2")
        place.execute('insert into "a:b" values (1), (2); insert into a values (3)')
        assert sorted(await client.gets(3)) == sorted(
            [(table, "INSERT", 1), (table, "INSERT", 2), (f"{table}:id=eq.2", "INSERT", 2)]
        )


async def test_a_topic_that_never_gets_anything_is_answered_ok_and_one_of_another_prefix_is_not(place: Place):
    async with Old(place.node) as client:
        await client.joins("realtime:nothing:like:this=at.all", "realtime:no=eq.")
        await client.push("public:todos", "phx_join", {}, join_ref=None)
        reply = await client.receive()
    assert reply["payload"] == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_columns_are_told_with_their_real_types(place: Place):
    place.execute(
        "create table t (id int8 primary key, list text[], span int4range, short varchar(10), price numeric(7, 2))"
    )
    async with Old(place.node) as client:
        await client.joins(f"realtime:{place.schema}:t")
        place.execute("insert into t values (1, '{a}', '[1,3)', 'x', 2.5)")
        payload = (await client.receive())["payload"]
    unlimited = 4294967295
    # atttypmod of varchar(n) is n + 4, of numeric(p, s) it is (p << 16) + s + 4.
    assert payload["columns"] == [
        {"flags": ["key"], "name": "id", "type": "int8", "type_modifier": unlimited},
        {"flags": [], "name": "list", "type": "_text", "type_modifier": unlimited},
        {"flags": [], "name": "span", "type": "int4range", "type_modifier": unlimited},
        {"flags": [], "name": "short", "type": "varchar", "type_modifier": 14},
        {"flags": [], "name": "price", "type": "numeric", "type_modifier": (7 << 16) + 2 + 4},
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", payload["commit_timestamp"])
    assert payload.keys() == {
        "type", "schema", "table", "columns", "record", "errors", "commit_timestamp", "position",
    }  # fmt: skip


async def test_a_truncate_has_no_row_and_a_delete_all_columns_of_which_the_key_is_known(place: Place):
    place.execute("create table t (id int primary key, note text); insert into t values (1, 'a')")
    async with Old(place.node) as client:
        await client.joins(f"realtime:{place.schema}:t")
        place.execute("delete from t")
        deleted = (await client.receive())["payload"]
        place.execute("truncate t")
        truncated = (await client.receive())["payload"]
    assert deleted["old_record"] == {"id": 1, "note": None}
    assert deleted.keys() - truncated.keys() == {"columns", "old_record"}
    assert "record" not in deleted
    assert {**truncated, "commit_timestamp": "", "position": ""} == {
        "type": "TRUNCATE",
        "schema": place.schema,
        "table": "t",
        "commit_timestamp": "",
        "errors": None,
        "position": "",
    }


async def test_the_old_row_of_an_update_is_its_key_and_under_full_all_of_it(place: Place):
    place.execute("create table t (id int primary key, note text); insert into t values (1, 'a')")
    async with Old(place.node) as client:
        await client.joins(f"realtime:{place.schema}:t")
        place.execute("update t set note = 'b'")
        assert (await client.receive())["payload"]["old_record"] == {"id": 1}
        place.execute("alter table t replica identity full")
        place.execute("update t set note = 'c'")
        assert (await client.receive())["payload"]["old_record"] == {"id": 1, "note": "b"}


@pytest.fixture
def as_text(published: Database, start_node: NodeFactory) -> Node:
    return start_node(published.dsn, PGCAST_LEGACY_VALUES="text")


async def test_values_as_text_are_those_of_the_original_without_its_mistakes(as_text: Node, published: Database):
    published.execute(
        "create table t (id int8 primary key, at timestamp, with_zone timestamptz, day date, list int[], raw bytea,"
        " doc json, large text)"
    )
    async with Old(as_text) as client:
        await client.joins("realtime:public:t")
        # Half as long is stored beside the row, and so is not in the WAL of an update that leaves it alone.
        published.execute(
            "insert into t select 9007199254740993, '2026-01-02 03:04:05', '2026-01-02 03:04:05+02', '0044-03-15 BC',"
            " '{1,NULL,3}', '\\xdeadbeef', '{\"a\":1}', string_agg(md5(n::text), '') from generate_series(1, 1000) n"
        )
        record = (await client.receive())["payload"]["record"]
        assert len(record.pop("large")) == 32_000
        assert record == {
            "id": "9007199254740993",
            "at": "2026-01-02T03:04:05",
            "with_zone": "2026-01-02T01:04:05Z",
            "day": "0044-03-15 BC",
            "list": "{1,NULL,3}",
            "raw": "\\xdeadbeef",
            "doc": '{"a":1}',
        }
        published.execute("update t set day = null")
        record = (await client.receive())["payload"]["record"]
    assert "large" not in record
    assert record["day"] is None
