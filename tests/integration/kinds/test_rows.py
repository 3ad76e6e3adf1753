"""Inserts, updates and deletes under every replica identity: what is known of the old row and the new one."""

from __future__ import annotations

import psycopg
import pytest

from fix_place import Place, rows_of

# Incompressible, and so long that it leaves the row.
BIG = "(select string_agg(md5(n::text), '') from generate_series(1, 200) n)"


def big(place: Place) -> str:
    ((text,),) = place.execute(f"select {BIG}")
    assert len(text) == 6400
    return text


async def test_the_default_identity_is_the_primary_key(place: Place):
    place.execute("create table t (a int, b text, c int, primary key (c, a))")
    async with place.followed() as client:
        place.execute("insert into t values (1, 'x', 2)")
        place.execute("update t set b = 'y'")
        place.execute("update t set a = 3")
        place.execute("delete from t")
        assert rows_of(await client.changes(4)) == [
            ("INSERT", {"a": 1, "b": "x", "c": 2}, None),
            ("UPDATE", {"a": 1, "b": "y", "c": 2}, {"a": 1, "c": 2}),
            ("UPDATE", {"a": 3, "b": "y", "c": 2}, {"a": 1, "c": 2}),
            ("DELETE", None, {"a": 3, "c": 2}),
        ]


async def test_the_full_identity_is_the_whole_row(place: Place):
    place.execute("create table t (a int primary key, b text, c int); alter table t replica identity full")
    async with place.followed() as client:
        place.execute("insert into t values (1, 'x', null)")
        place.execute("update t set b = 'y'")
        place.execute("update t set a = 2, b = null, c = 3")
        place.execute("delete from t")
        assert rows_of(await client.changes(4)) == [
            ("INSERT", {"a": 1, "b": "x", "c": None}, None),
            ("UPDATE", {"a": 1, "b": "y", "c": None}, {"a": 1, "b": "x", "c": None}),
            ("UPDATE", {"a": 2, "b": None, "c": 3}, {"a": 1, "b": "y", "c": None}),
            ("DELETE", None, {"a": 2, "b": None, "c": 3}),
        ]


async def test_an_index_as_identity_is_its_columns(place: Place):
    place.execute("""
        create table t (a int primary key, b text not null, c int not null);
        create unique index i on t (c, b);
        alter table t replica identity using index i
    """)
    async with place.followed() as client:
        place.execute("insert into t values (1, 'x', 2)")
        place.execute("update t set a = 3")
        place.execute("update t set b = 'y'")
        place.execute("delete from t")
        assert rows_of(await client.changes(4)) == [
            ("INSERT", {"a": 1, "b": "x", "c": 2}, None),
            ("UPDATE", {"a": 3, "b": "x", "c": 2}, {"b": "x", "c": 2}),
            ("UPDATE", {"a": 3, "b": "y", "c": 2}, {"b": "x", "c": 2}),
            ("DELETE", None, {"b": "y", "c": 2}),
        ]


async def test_where_nothing_identifies_a_row_only_inserts_come(place: Place):
    place.execute("""
        create table nothing (a int primary key); alter table nothing replica identity nothing;
        create table keyless (a int);
        create table indexed (a int not null); create unique index i on indexed (a);
        alter table indexed replica identity using index i; drop index i
    """)
    async with place.followed() as client:
        for table in ("nothing", "keyless", "indexed"):
            place.execute(f"insert into {table} values (1)")
            for refused in (f"update {table} set a = 2", f"delete from {table}"):
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                    place.execute(refused)
            (change,) = await client.changes(1)
            assert (change["table"], *rows_of([change])) == (table, ("INSERT", {"a": 1}, None))
        await client.nothing_more(0.1)


async def test_a_table_without_a_key_is_known_whole_under_full(place: Place):
    place.execute("create table t (a int, b text); alter table t replica identity full")
    async with place.followed() as client:
        place.execute("insert into t values (1, 'x'), (1, 'x')")
        place.execute("update t set b = null")
        place.execute("delete from t")
        x, nothing = {"a": 1, "b": "x"}, {"a": 1, "b": None}
        assert rows_of(await client.changes(6)) == [
            *[("INSERT", x, None)] * 2,
            *[("UPDATE", nothing, x)] * 2,
            *[("DELETE", None, nothing)] * 2,
        ]


async def test_the_identity_may_change_at_any_time(place: Place):
    place.execute("create table t (a int primary key, b int not null unique); insert into t values (1, 2)")
    async with place.followed() as client:
        place.execute("alter table t replica identity full")
        place.execute("update t set b = 3")
        place.execute("alter table t replica identity using index t_b_key")
        place.execute("update t set b = 4")
        place.execute("alter table t replica identity default")
        place.execute("update t set b = 5")
        old = [change["old_record"] for change in await client.changes(3)]
        assert old == [{"a": 1, "b": 2}, {"b": 3}, {"a": 1}]


async def test_an_unchanged_value_kept_elsewhere_is_left_out(place: Place):
    place.execute(f"create table t (a int primary key, b text, c int); insert into t values (1, {BIG}, 1)")
    async with place.followed() as client:
        place.execute("update t set c = 2")
        place.execute("update t set b = b, a = 2")
        place.execute("update t set b = b || '!'")
        changes = await client.changes(3)
        assert rows_of(changes) == [
            ("UPDATE", {"a": 1, "c": 2}, {"a": 1}),
            ("UPDATE", {"a": 2, "c": 2}, {"a": 1}),
            ("UPDATE", {"a": 2, "b": f"{big(place)}!", "c": 2}, {"a": 2}),
        ]
        assert [column["name"] for column in changes[0]["columns"]] == ["a", "b", "c"]


async def test_under_full_an_unchanged_value_is_taken_from_the_old_row(place: Place):
    place.execute(f"""
        create table t (a int primary key, b text, c int);
        alter table t replica identity full; insert into t values (1, {BIG}, 1)
    """)
    async with place.followed() as client:
        place.execute("update t set c = 2")
        place.execute("delete from t")
        text = big(place)
        assert rows_of(await client.changes(2)) == [
            ("UPDATE", {"a": 1, "b": text, "c": 2}, {"a": 1, "b": text, "c": 1}),
            ("DELETE", None, {"a": 1, "b": text, "c": 2}),
        ]


async def test_a_large_key_is_known_before_and_after(place: Place):
    # Too large for an index as text; as bytes that repeat it fits, and is kept elsewhere only because we say so.
    place.execute("""
        create table t (a text, b int, primary key (a)); alter table t alter a set storage external;
        insert into t values (repeat('x', 2200), 1)
    """)
    async with place.followed() as client:
        place.execute("update t set b = 2")
        (change,) = await client.changes(1)
        key = {"a": "x" * 2200}
        assert rows_of([change]) == [("UPDATE", {**key, "b": 2}, key)]


@pytest.mark.postgres(12, why="generated columns came with version 12")
async def test_stored_generated_columns_are_not_published(place: Place):
    place.execute("create table t (a int primary key, g int generated always as (a * 2) stored, z int)")
    async with place.followed() as client:
        place.execute("insert into t values (1, default, 3)")
        place.execute("update t set z = 4")
        place.execute("delete from t")
        changes = await client.changes(3)
        assert rows_of(changes) == [
            ("INSERT", {"a": 1, "z": 3}, None),
            ("UPDATE", {"a": 1, "z": 4}, {"a": 1}),
            ("DELETE", None, {"a": 1}),
        ]
        assert [column["name"] for column in changes[0]["columns"]] == ["a", "z"]


async def test_inserts_on_conflict_come_as_what_they_did(place: Place):
    place.execute("create table t (a int primary key, b int)")
    async with place.followed() as client:
        for _ in range(2):
            place.execute("insert into t values (1, 1) on conflict (a) do update set b = t.b + 1")
        place.execute("insert into t values (1, 1) on conflict do nothing")
        assert rows_of(await client.changes(2)) == [
            ("INSERT", {"a": 1, "b": 1}, None),
            ("UPDATE", {"a": 1, "b": 2}, {"a": 1}),
        ]
        await client.nothing_more(0.1)


async def test_an_update_of_ten_thousand_rows_is_ten_thousand_events(place: Place):
    place.execute(
        "create table t (a int primary key, b int); insert into t select n, 0 from generate_series(1, 10000) n"
    )
    async with place.followed() as client:
        place.execute("update t set b = a")
        changes = await client.changes(10_000, 60)
        assert sorted(change["record"]["a"] for change in changes) == list(range(1, 10_001))
        assert all(change["record"]["b"] == change["record"]["a"] for change in changes)
        assert len({change["position"] for change in changes}) == 10_000
        await client.nothing_more(0.2)
