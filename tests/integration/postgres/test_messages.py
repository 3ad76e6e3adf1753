"""The store of messages on a real database: what it finds, and how it is looked after."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fix_messages import initialize
from pgcast.model.errors import DatabaseError, NotPrepared
from pgcast.postgres.connection import parse_target
from pgcast.postgres.messages import PostgresMessages

NOW_MS = int(datetime.now(UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


@pytest.fixture
async def store(database):
    made = PostgresMessages(parse_target(database.dsn), max_payload_bytes=1000)
    yield made
    await made.close()


def insert(database, event, **row):
    usual = {"topic": "room", "extension": "broadcast", "private": True, "payload": "{}", "event": event, **row}
    columns, values = ", ".join(usual), ", ".join(["%s"] * len(usual))
    database.execute(f"insert into realtime.messages ({columns}) values ({values})", list(usual.values()))


def ago(**delta):
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(**delta)


async def events(store, *, since_ms=NOW_MS - HOUR_MS, limit=25):
    messages, _ = await store.recent("room", since_ms, limit)
    return [message.event for message in messages]


async def test_the_newest_come_oldest_first(initialized, store):
    for number in range(5):
        insert(initialized, str(number))
    assert await events(store) == ["0", "1", "2", "3", "4"]
    assert await events(store, limit=2) == ["3", "4"]
    assert await events(store, since_ms=NOW_MS + HOUR_MS) == []


async def test_only_what_is_for_the_private_channels_of_the_topic_comes(initialized, store):
    insert(initialized, "public", private=False)
    insert(initialized, "other topic", topic="room2")
    insert(initialized, "presence", extension="presence")
    insert(initialized, None)
    insert(initialized, "no payload", payload=None)
    insert(initialized, "too large", payload=f'"{"x" * 1000}"')
    insert(initialized, "future", inserted_at=ago(minutes=-2))
    insert(initialized, "old", inserted_at=ago(hours=2))
    insert(initialized, "soon", inserted_at=ago(seconds=-30))
    assert await events(store) == ["soon"]


async def test_a_message_is_what_was_stored(initialized, store):
    insert(initialized, "json", payload='{"a": [1]}')
    insert(initialized, "raw", payload=None, binary_payload=b"\0\xff")
    (json, raw), snapshot = await store.recent("room", NOW_MS - HOUR_MS, 25)
    assert (json.payload, json.raw, json.topic, json.is_private) == (b'{"a": [1]}', None, "room", True)
    assert (raw.payload, raw.raw) == (None, b"\0\xff")
    assert initialized.execute("select id::text from realtime.messages where event = 'json'") == [(json.id,)]
    seen = initialized.execute("select xmin::text::int8 from realtime.messages")
    assert all(snapshot.sees(xid) for (xid,) in seen)
    ((later,),) = initialized.execute("select txid_current()")
    assert not snapshot.sees(later)


async def test_together_they_are_bounded_and_the_newest_win(initialized, database):
    store = PostgresMessages(parse_target(database.dsn), max_payload_bytes=0)
    for number in range(5):
        insert(initialized, str(number), payload=f'"{"x" * 5_000_000}"')
    assert await events(store) == ["2", "3", "4"]
    await store.close()


async def test_without_the_table_the_hint_makes_it(database, store):
    with pytest.raises(NotPrepared) as caught:
        await store.recent("room", 0, 25)
    assert "pgcast init --realtime" in caught.value.hint
    assert await store.tend(72) == []


async def test_a_database_that_is_away_is_an_error():
    store = PostgresMessages(parse_target("postgresql://a:b@127.0.0.1:1/c"), max_payload_bytes=0)
    with pytest.raises(DatabaseError):
        await store.recent("room", 0, 25)
    with pytest.raises(DatabaseError):
        await store.tend(72)
    await store.close()


def partitions(database):
    return [
        name
        for (name,) in database.execute(
            "select inhrelid::regclass::text from pg_inherits"
            " where inhparent = 'realtime.messages'::regclass order by 1"
        )
    ]


def partition(days):
    return f"realtime.messages_{datetime.now(UTC) + timedelta(days=days):%Y_%m_%d}"


def make_partition(database, days):
    first, last = (f"{datetime.now(UTC) + timedelta(days=day):%Y-%m-%d}" for day in (days, days + 1))
    database.execute(
        f"create table {partition(days)} partition of realtime.messages for values from ('{first}') to ('{last}')"
    )


@pytest.mark.postgres(13, why="the table has no partitions")
async def test_partitions_are_made_ahead_and_dropped_when_all_in_them_is_old(initialized, store):
    for days in (-3, -4, -5):
        make_partition(initialized, days)
    initialized.execute(f"drop table {partition(2)}; drop table {partition(3)}")
    done = await store.tend(72)
    assert partitions(initialized) == [partition(days) for days in (-3, -1, 0, 1, 2, 3)]
    assert len(done) == 4
    assert await store.tend(72) == []
    assert initialized.execute(f"select relrowsecurity from pg_class where oid = '{partition(3)}'::regclass") == [
        (True,)
    ]


@pytest.mark.postgres(13, why="the table has no partitions")
async def test_one_server_at_a_time_looks_after_the_table(initialized, store):
    initialized.execute(f"drop table {partition(3)}")
    other = PostgresMessages(parse_target(initialized.dsn), max_payload_bytes=0)
    with psycopg.connect(initialized.dsn) as connection:
        connection.execute("select pg_advisory_xact_lock(x'7067636173740001'::int8)")
        assert await other.tend(72) == []
    assert len(await store.tend(72)) == 1
    await other.close()


@pytest.mark.postgres(13, why="the table has no partitions")
async def test_a_partition_that_is_read_is_not_waited_for_for_long(initialized, store):
    make_partition(initialized, -5)
    initialized.execute(f"drop table {partition(3)}")
    with psycopg.connect(initialized.dsn) as connection:
        connection.execute("select from realtime.messages").fetchall()
        with pytest.raises(DatabaseError, match="lock timeout"):
            await store.tend(72)
    assert partition(3) in partitions(initialized), "what could be done was done"
    assert len(await store.tend(72)) == 1


@pytest.mark.postgres(13, why="the table has no partitions")
async def test_who_does_not_own_the_table_is_told_what_to_do(own_cluster):
    cluster = own_cluster()
    dsn = cluster.dsn("postgres")
    await asyncio.to_thread(initialize, dsn, has_realtime=True)
    with cluster.connect() as connection:
        connection.execute("create role guest login password 'guest'")
        connection.execute(f"drop table {partition(3)}")
    target = parse_target(dsn)
    store = PostgresMessages(
        parse_target(f"host={target.host} port={target.port} dbname=postgres user=guest password=guest"),
        max_payload_bytes=0,
    )
    with pytest.raises(NotPrepared) as caught:
        await store.tend(72)
    assert 'ALTER TABLE realtime.messages OWNER TO "guest";' in caught.value.hint
    await store.close()


@pytest.mark.postgres(10, last=12, why="there are partitions")
async def test_below_version_13_old_rows_are_deleted(initialized, store):
    insert(initialized, "old", inserted_at=ago(hours=73))
    insert(initialized, "young", inserted_at=ago(hours=71))
    assert await store.tend(72) == ["deleted 1 old rows"]
    assert initialized.execute("select event from realtime.messages") == [("young",)]
