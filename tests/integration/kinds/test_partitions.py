"""Partitioned and inherited tables: as leaves, and as rows of their root."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fix_node import Node, NodeFactory
from fix_place import Place, rows_of
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

EVERYTHING = {"event": "*", "schema": "*"}

as_root = pytest.mark.postgres(13, why="publish_via_partition_root came with version 13")
needs_turns = pytest.mark.postgres(13, last=14, why="only these versions go on as they began")


def rows_with_tables(changes):
    return [(change["table"], *row) for change, row in zip(changes, rows_of(changes), strict=True)]


@pytest.mark.postgres(11, why="a row of version 10 cannot move, nor its partitioned table have a key")
async def test_leaves_are_tables_of_their_own(place: Place):
    place.execute("""
        create table r (id int, region int, v text, primary key (region, id)) partition by list (region);
        create table low partition of r for values in (1);
        create table high (v text, region int not null, gone int, id int not null, primary key (region, id));
        alter table high drop column gone;
        alter table r attach partition high for values in (2)
    """)
    async with place.followed() as client:
        place.execute("insert into r values (1, 1, 'x'), (2, 2, 'y')")
        place.execute("update r set v = 'z' where id = 1")
        place.execute("update r set region = 2 where id = 1")
        place.execute("delete from r where id = 2")
        assert rows_with_tables(await client.changes(6)) == [
            ("low", "INSERT", {"id": 1, "region": 1, "v": "x"}, None),
            ("high", "INSERT", {"id": 2, "region": 2, "v": "y"}, None),
            ("low", "UPDATE", {"id": 1, "region": 1, "v": "z"}, {"id": 1, "region": 1}),
            ("low", "DELETE", None, {"id": 1, "region": 1}),
            ("high", "INSERT", {"id": 1, "region": 2, "v": "z"}, None),
            ("high", "DELETE", None, {"id": 2, "region": 2}),
        ]


@pytest.mark.postgres(10, last=10, why="from version 11 on, leaves have keys of their root")
async def test_leaves_of_version_10_are_tables_too(place: Place):
    place.execute("""
        create table r (id int, region int) partition by list (region);
        create table low partition of r (primary key (id)) for values in (1)
    """)
    async with place.followed() as client:
        place.execute("insert into r values (1, 1)")
        place.execute("delete from r")
        assert rows_with_tables(await client.changes(2)) == [
            ("low", "INSERT", {"id": 1, "region": 1}, None),
            ("low", "DELETE", None, {"id": 1}),
        ]


@pytest.mark.postgres(11, why="keys of partitioned tables came with version 11")
async def test_a_leaf_is_followed_when_it_is_attached_and_when_it_is_detached(place: Place):
    place.execute("""
        create table r (id int primary key) partition by list (id);
        create table one (id int primary key)
    """)
    async with place.followed() as client:
        place.execute("insert into one values (1)")
        place.execute("alter table r attach partition one for values in (1, 2)")
        place.execute("insert into r values (2)")
        place.execute("alter table r detach partition one")
        place.execute("insert into one values (3)")
        assert [(change["table"], change["record"]["id"]) for change in await client.changes(3)] == [
            ("one", 1), ("one", 2), ("one", 3),
        ]  # fmt: skip


async def test_inherited_tables_are_tables_of_their_own(place: Place):
    place.execute("""
        create table parent (id int primary key, v text);
        create table child (extra int, primary key (id)) inherits (parent)
    """)
    async with place.followed() as client:
        place.execute("insert into child values (1, 'x', 2)")
        place.execute("insert into parent values (3, 'y')")
        place.execute("update parent set v = 'z'")
        changes = rows_with_tables(await client.changes(4))
        assert changes[:2] == [
            ("child", "INSERT", {"id": 1, "v": "x", "extra": 2}, None),
            ("parent", "INSERT", {"id": 3, "v": "y"}, None),
        ]
        assert sorted(changes[2:], key=lambda change: change[0]) == [
            ("child", "UPDATE", {"id": 1, "v": "z", "extra": 2}, {"id": 1}),
            ("parent", "UPDATE", {"id": 3, "v": "z"}, {"id": 3}),
        ]


@pytest.fixture
def rooted(database: Database) -> Iterator[Database]:
    """A database whose partitions are published as rows of their root."""
    database.execute("""
        create table r (id int, region int, v text, w text, primary key (region, id)) partition by list (region);
        create table low partition of r for values in (1);
        create table middle partition of r for values in (2, 3, 4) partition by list (region);
        create table high (w text, v text, region int not null, gone int, id int not null, primary key (region, id));
        alter table high drop column gone;
        alter table middle attach partition high for values in (2);
        create publication supabase_realtime for table r with (publish_via_partition_root)
    """)
    return database


@pytest.fixture
def root_node(rooted: Database, start_node: NodeFactory) -> Node:
    return start_node(rooted.dsn)


@as_root
async def test_partitions_as_rows_of_their_root(rooted: Database, root_node: Node):
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", {"event": "*", "schema": "public", "table": "r"}, EVERYTHING)
        rooted.execute("insert into r values (1, 1, 'x'), (2, 2, 'y')")
        rooted.execute("update r set v = 'z'")
        rooted.execute("update r set region = 2 where id = 1")
        rooted.execute("delete from r where id = 1")
        changes = await client.changes(7)
        key = {"id": 1, "region": 1}
        assert {change["table"] for change in changes} == {"r"}
        assert rows_of(changes) == [
            ("INSERT", {**key, "v": "x", "w": None}, None),
            ("INSERT", {"id": 2, "region": 2, "v": "y", "w": None}, None),
            ("UPDATE", {**key, "v": "z", "w": None}, key),
            ("UPDATE", {"id": 2, "region": 2, "v": "z", "w": None}, {"id": 2, "region": 2}),
            ("DELETE", None, key),
            ("INSERT", {"id": 1, "region": 2, "v": "z", "w": None}, None),
            ("DELETE", None, {"id": 1, "region": 2}),
        ]


@as_root
async def test_a_partition_attached_to_a_published_root_is_followed_at_once(rooted: Database, root_node: Node):
    rooted.execute("create table five (like r including all)")
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("alter table r attach partition five for values in (5)")
        rooted.execute("insert into r values (2, 5)")
        (change,) = await client.changes(1)
        assert (change["table"], change["record"]["id"]) == ("r", 2)


@as_root
async def test_so_is_a_table_whose_rows_were_passed_over_before(rooted: Database, root_node: Node):
    rooted.execute("create table five (like r including all)")
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into five values (1, 5)")
        rooted.execute("alter table r attach partition five for values in (5)")
        rooted.execute("insert into r values (2, 5)")
        (change,) = await client.changes(1)
        assert (change["table"], change["record"]["id"]) == ("r", 2)


async def write_while_attaching(database: Database) -> list[tuple[int, int]]:
    """Write to partitions, and to tables that become partitions meanwhile; return the rows as (id, region)."""
    database.execute("create table five (like r including all); create table six (like r including all)")
    database.execute("insert into five values (0, 5); insert into six values (0, 6)")
    regions = [1, 2]
    written = []
    with database.connect() as writer:
        for number in range(1, 61):
            if number in {20, 40}:
                table, region = {20: ("five", 5), 40: ("six", 6)}[number]
                writer.execute(f"alter table r attach partition {table} for values in ({region})")
                regions.insert(1, region)
            with writer.transaction():
                for region in regions:
                    writer.execute("insert into r values (%s, %s)", (number, region))
                    written.append((number, region))
            await asyncio.sleep(0.02)
    return written


def ids_and_regions(changes):
    return [(change["record"]["id"], change["record"]["region"]) for change in changes]


@needs_turns
@pytest.mark.parametrize("via_root", ["true", "false"])
async def test_what_an_attached_table_wrote_before_that_was_noticed_comes_late_but_once(
    rooted: Database, start_node: NodeFactory, via_root: str
):
    rooted.execute(f"alter publication supabase_realtime set (publish_via_partition_root = {via_root})")
    node = start_node(rooted.dsn)
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        written = await write_while_attaching(rooted)
        changes = await client.changes(len(written))
        await client.nothing_more(2.5)
    assert sorted(ids_and_regions(changes)) == sorted(written)
    positions = [change["position"] for change in changes]
    assert positions == sorted(set(positions))
    assert "is lost" not in node.log()


@needs_turns
async def test_a_server_that_comes_past_the_attaching_later_misses_nothing(rooted: Database, root_node: Node):
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into r values (-1, 1)")
        ((first,)) = await client.changes(1)
        root_node.kill()
    written = await write_while_attaching(rooted)
    await asyncio.to_thread(root_node.start)
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", {**EVERYTHING, "since": first["position"]})
        assert ids_and_regions(await client.changes(len(written))) == written
        await client.nothing_more(2.5)


@needs_turns
async def test_a_savepoint_that_attaches_a_table_is_a_gap_that_is_told(rooted: Database, root_node: Node):
    rooted.execute("create table five (like r including all)")
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into five values (1, 5)")
        rooted.execute("""
            begin; savepoint s; alter table r attach partition five for values in (5); release s; commit
        """)
        await client.receive_until(lambda message: message["payload"].get("code") == "GapDetected")
        await asyncio.sleep(0.5)
        rooted.execute("insert into r values (2, 5)")
        assert ids_and_regions(await client.changes(1)) == [(2, 5)]


@needs_turns
async def test_a_detached_table_is_left_alone_within_seconds(rooted: Database, root_node: Node):
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into r values (1, 1)")
        rooted.execute("alter table r detach partition low")
        await asyncio.sleep(4)
        rooted.execute("insert into low values (2, 1)")
        rooted.execute("insert into r values (3, 2)")
        assert ids_and_regions(await client.changes(2)) == [(1, 1), (3, 2)]


@pytest.mark.postgres(15, why="until version 15 a detached partition is published on for a while")
async def test_a_partition_detached_from_a_published_root_is_left_alone(rooted: Database, root_node: Node):
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into r values (1, 1)")
        rooted.execute("alter table r detach partition low")
        rooted.execute("insert into low values (2, 1)")
        rooted.execute("insert into r values (3, 2)")
        assert [change["record"]["id"] for change in await client.changes(2)] == [1, 3]


@as_root
async def test_under_a_full_root_only_what_every_leaf_covers_is_known(rooted: Database, root_node: Node):
    rooted.execute("alter table r replica identity full; alter table low replica identity full")
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into r values (1, 1, 'x'), (2, 2, 'y')")
        rooted.execute("update r set v = 'z'")
        rooted.execute("update r set id = id + 10")
        rooted.execute("delete from r")
        old = [change["old_record"] for change in (await client.changes(8))[2:]]
        before, after = (
            [{"id": 1, "region": 1}, {"id": 2, "region": 2}],
            [{"id": 11, "region": 1}, {"id": 12, "region": 2}],
        )
        assert old == [*before, *before, *after]
        # As soon as all of them are known whole, the root is.
        rooted.execute("alter table high replica identity full; insert into r values (1, 2, 'x')")
        rooted.execute("delete from r")
        _, deleted = await client.changes(2)
        assert deleted["old_record"] == {"id": 1, "region": 2, "v": "x", "w": None}


@as_root
async def test_under_a_default_root_a_full_leaf_tells_no_more_than_the_key(rooted: Database, root_node: Node):
    rooted.execute("alter table high replica identity full")
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into r values (2, 2, 'y')")
        rooted.execute("update r set v = 'z'")
        rooted.execute("delete from r")
        assert [change.get("old_record") for change in await client.changes(3)] == [None, *[{"id": 2, "region": 2}] * 2]


@as_root
async def test_a_leaf_with_an_index_as_identity_covers_only_that(rooted: Database, root_node: Node):
    rooted.execute("""
        create unique index i on low (id); alter table low alter id set not null, replica identity using index i
    """)
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("insert into r values (1, 1, 'x'), (2, 2, 'y')")
        rooted.execute("update r set id = 4 - id")
        rooted.execute("delete from r")
        assert [change["old_record"] for change in (await client.changes(6))[2:]] == [
            {"id": 1}, {"id": 2}, {"id": 3}, {"id": 2},
        ]  # fmt: skip


@as_root
async def test_an_unchanged_value_of_a_leaf_is_left_out_too(rooted: Database, root_node: Node):
    rooted.execute("""
        alter table high alter v set storage external; alter table r replica identity full;
        insert into r values (2, 2, repeat('x', 5000))
    """)
    async with RealtimeClient(root_node.url) as client:
        await client.join("realtime:room", EVERYTHING)
        rooted.execute("update r set w = 'new'")
        rooted.execute("update r set id = 3")
        assert rows_of(await client.changes(2)) == [
            ("UPDATE", {"id": 2, "region": 2, "w": "new"}, {"id": 2, "region": 2}),
            ("UPDATE", {"id": 3, "region": 2, "w": "new"}, {"id": 2, "region": 2}),
        ]


@as_root
async def test_emptying_a_partition_of_a_published_root_is_not_told(rooted: Database, root_node: Node):
    async with RealtimeClient(root_node.url, vsn="1.0.0") as client:
        await client.push("realtime:*", "phx_join", {})
        await client.receive()
        rooted.execute("truncate low")
        rooted.execute("truncate r")
        message = await client.receive()
        assert (message["event"], message["payload"]["table"]) == ("TRUNCATE", "r")
