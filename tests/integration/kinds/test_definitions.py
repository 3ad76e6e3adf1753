"""Tables, schemas and types that are altered while their changes are followed."""

from __future__ import annotations

import asyncio
from typing import Any

from fix_place import Place, rows_of
from realtime_client import RealtimeClient

# What Postgres does not announce by itself is known after a second, or little more.
SOON_S = 10.0


async def test_columns_added_dropped_renamed_and_retyped(place: Place):
    place.execute("create table t (a int primary key, b text)")
    async with place.followed() as client:
        place.execute("insert into t values (1, 'x')")
        place.execute("alter table t add c int default 7; insert into t values (2, 'x')")
        place.execute("alter table t drop b; insert into t values (3, 8)")
        place.execute("alter table t rename c to d; insert into t values (4, 9)")
        place.execute("alter table t alter d type text using 'was ' || d; insert into t values (5, 'new')")
        place.execute("update t set d = d where a = 2; delete from t where a = 1")
        changes = await client.changes(7)
        assert rows_of(changes) == [
            ("INSERT", {"a": 1, "b": "x"}, None),
            ("INSERT", {"a": 2, "b": "x", "c": 7}, None),
            ("INSERT", {"a": 3, "c": 8}, None),
            ("INSERT", {"a": 4, "d": 9}, None),
            ("INSERT", {"a": 5, "d": "new"}, None),
            ("UPDATE", {"a": 2, "d": "was 7"}, {"a": 2}),
            ("DELETE", None, {"a": 1}),
        ]
        assert [column["type"] for column in changes[-1]["columns"]] == ["int4", "text"]


async def test_rows_and_alterations_in_one_transaction(place: Place):
    place.execute("create table t (a int primary key, b int)")
    async with place.followed() as client:
        place.execute("""
            begin; insert into t values (1, 1);
            alter table t rename b to c; insert into t values (2, 2);
            alter table t add d text; update t set d = 'd' where a = 1;
            savepoint s; alter table t drop c; insert into t values (3, 'lost'); rollback to s;
            insert into t values (4, 4, 'e'); commit
        """)
        assert [row for _, row, _ in rows_of(await client.changes(4))] == [
            {"a": 1, "b": 1}, {"a": 2, "c": 2}, {"a": 1, "c": 1, "d": "d"}, {"a": 4, "c": 4, "d": "e"},
        ]  # fmt: skip


async def test_rows_from_before_a_drop_come_as_they_were(place: Place):
    """The catalog has forgotten the table by the time its rows are read."""
    place.execute("""
        create type mood as enum ('ok'); create type pair as (a int, b text);
        create table t (a int primary key, m mood, ms mood[], p pair, n numeric[], j jsonb)
    """)
    async with place.followed() as client:
        place.execute("""
            begin; insert into t values (1, 'ok', '{ok}', '(1,x)', '{1.5}', '{"a": 1}');
            drop table t; drop type mood; drop type pair; commit
        """)
        (change,) = await client.changes(1)
        known = {"a": 1, "m": "ok", "n": [1.5], "j": {"a": 1}}
        # Of types that are gone only the text is known; the row may be read a moment before everybody sees that.
        assert change["record"] in (
            {**known, "ms": "{ok}", "p": "(1,x)"},
            {**known, "ms": ["ok"], "p": {"a": 1, "b": "x"}},
        )


async def test_a_table_dropped_and_made_again_is_another_one(place: Place):
    place.execute("create table t (a int primary key, b int)")
    async with place.followed(table="t") as client:
        place.execute("insert into t values (1, 1)")
        place.execute("drop table t; create table t (c text primary key)")
        place.execute("insert into t values ('x'); delete from t")
        assert rows_of(await client.changes(3)) == [
            ("INSERT", {"a": 1, "b": 1}, None), ("INSERT", {"c": "x"}, None), ("DELETE", None, {"c": "x"}),
        ]  # fmt: skip


async def test_a_renamed_table_has_its_new_name_from_its_next_row_on(place: Place):
    other = f"{place.schema}_other"
    place.execute(f"create table t (a int primary key); create schema {other}")
    try:
        async with RealtimeClient(place.node.url) as client:
            await client.join(
                "realtime:room", {"event": "*", "schema": place.schema}, {"event": "*", "schema": other}
            )  # fmt: skip
            place.execute("insert into t values (1)")
            place.execute("alter table t rename to u; insert into u values (2)")
            place.execute(f"alter table u set schema {other}; insert into {other}.u values (3)")
            changes = await client.changes(3)
            assert [(change["schema"], change["table"], change["record"]["a"]) for change in changes] == [
                (place.schema, "t", 1), (place.schema, "u", 2), (other, "u", 3),
            ]  # fmt: skip
    finally:
        place.execute(f"drop schema {other} cascade")


async def first_with(client: RealtimeClient, wanted: Any, write: Any) -> dict[str, Any]:
    """Write until a change comes as wanted."""
    async with asyncio.timeout(SOON_S):
        while True:
            write()
            (change,) = await client.changes(1)
            if wanted(change):
                return change
            await asyncio.sleep(0.1)


async def test_a_renamed_schema_has_its_new_name_soon(place: Place):
    old, new = f"{place.schema}_old", f"{place.schema}_new"
    place.execute(f"create schema {old}; create table {old}.t (a serial primary key)")
    async with RealtimeClient(place.node.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": old}, {"event": "*", "schema": new})
        place.execute(f"insert into {old}.t default values")
        (change,) = await client.changes(1)
        assert (change["schema"], change["table"]) == (old, "t")
        place.execute(f"alter schema {old} rename to {new}")
        change = await first_with(
            client,
            lambda change: change["schema"] == new,
            lambda: place.execute(f"insert into {new}.t default values"),
        )
        # Another may take the old name at once, and each has its own.
        place.execute(f"create schema {old}; create table {old}.t (b int)")
        place.execute(f"insert into {old}.t values (1); insert into {new}.t values (0)")
        changes = await client.changes(2)
        assert [(change["schema"], change["record"]) for change in changes] == [(old, {"b": 1}), (new, {"a": 0})]
    place.execute(f"drop schema {old} cascade; drop schema {new} cascade")


async def test_values_of_an_enum_added_and_renamed(place: Place):
    place.execute("create type mood as enum ('sad', 'ok'); create table t (m mood, ms mood[])")
    async with place.followed() as client:
        place.execute("insert into t values ('ok', '{ok}')")
        place.execute("alter type mood add value 'größer, \"besser\"' before 'ok'")
        place.execute("""insert into t values ('größer, "besser"', array['größer, "besser"', 'sad']::mood[])""")
        place.execute("alter type mood rename value 'sad' to 'blue'")
        place.execute("insert into t values ('blue', '{blue}')")
        assert [change["record"]["ms"] for change in await client.changes(3)] == [
            ["ok"], ['größer, "besser"', "sad"], ["blue"],
        ]  # fmt: skip


async def test_a_filter_knows_an_enums_values_of_now(place: Place):
    place.execute("create type mood as enum ('sad', 'ok'); create table t (m mood)")
    async with place.followed(table="t", filter="m=eq.sad"):
        place.execute("alter type mood rename value 'sad' to 'blue'")
    await asyncio.sleep(1.1)  # answers may be a second old
    async with RealtimeClient(place.node.url) as client:
        binding = {"event": "*", "schema": place.schema, "table": "t"}
        await client.join("realtime:gone", {**binding, "filter": "m=eq.sad"}, subscribed=False)
        system = await client.receive_until(lambda message: message["event"] == "system")
        assert "invalid input value for enum" in system["payload"]["message"]
        await client.join("realtime:room", {**binding, "filter": "m=eq.blue"})
        place.execute("insert into t values ('ok'), ('blue')")
        assert (await client.changes(1))[0]["record"] == {"m": "blue"}


async def test_a_domain_altered(place: Place):
    place.execute("create domain positive as int check (value > 0); create table t (d positive)")
    async with place.followed() as client:
        place.execute("insert into t values (1)")
        place.execute("alter domain positive drop constraint positive_check; insert into t values (-1)")
        changes = await client.changes(2)
        assert [change["record"] for change in changes] == [{"d": 1}, {"d": -1}]
        assert changes[0]["columns"] == [{"name": "d", "type": "positive"}]


async def test_a_type_renamed_has_its_new_name_soon(place: Place):
    place.execute("create type mood as enum ('ok'); create table t (m mood)")
    async with place.followed() as client:
        place.execute("insert into t values ('ok')")
        (change,) = await client.changes(1)
        assert change["columns"] == [{"name": "m", "type": "mood"}]
        place.execute("alter type mood rename to humour")
        await first_with(
            client,
            lambda change: change["columns"] == [{"name": "m", "type": "humour"}],
            lambda: place.execute("insert into t values ('ok')"),
        )


async def test_a_composite_type_altered_is_taken_apart_soon(place: Place):
    place.execute("create type pair as (a int, b text); create table t (p pair, ps pair[])")
    async with place.followed() as client:
        place.execute("insert into t values ('(1,x)', '{\"(1,x)\"}')")
        (change,) = await client.changes(1)
        assert change["record"] == {"p": {"a": 1, "b": "x"}, "ps": [{"a": 1, "b": "x"}]}
        place.execute("alter type pair add attribute c date; alter type pair rename attribute a to z")
        await first_with(
            client,
            lambda change: change["record"]["p"] == {"z": 1, "b": "x", "c": None},
            lambda: place.execute("insert into t values ('(1,x,)', null)"),
        )
        place.execute("alter type pair drop attribute b")
        await first_with(
            client,
            lambda change: change["record"]["p"] == {"z": 1, "c": "2026-01-02"},
            lambda: place.execute("insert into t values ('(1,2026-01-02)', null)"),
        )
