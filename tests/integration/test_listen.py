"""`pgcast.listen` on a real Postgres: what comes, what comes again, what never does, and what it costs others."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import pgcast
from listened import DEADLINE_S, SLOT, ids, run, some

if TYPE_CHECKING:
    from pgcast.devdb.template import Database


@pytest.fixture
def todos(published: Database) -> Database:
    return published


def confirmed(database: Database) -> int:
    """How much WAL the slot has let go of."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        row = connection.execute(
            "select pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::int8 from pg_replication_slots where slot_name = %s",
            [SLOT],
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_change_tells_what_happened_to_which_row_and_when(todos: Database):
    await run(todos, "create table sums (id int8 primary key, total numeric, tags text[], more jsonb)")
    async with pgcast.listen(todos.dsn) as changes:
        assert changes.slot_created
        before = datetime.now(UTC)
        await run(todos, "insert into sums values (1, 12345678901234567.89, '{a,b}', '{\"k\": 1}')")
        await run(todos, "update sums set tags = null; delete from sums")
        inserted, updated, deleted = await some(changes, 3)
    assert (inserted.schema, inserted.table, inserted.event) == ("public", "sums", "INSERT")
    assert inserted.record == {"id": 1, "total": 12345678901234567.89, "tags": ["a", "b"], "more": {"k": 1}}
    assert inserted.text("total") == "12345678901234567.89"
    assert inserted.old_record is None
    assert (updated.event, updated.record and updated.record["tags"]) == ("UPDATE", None)
    assert updated.old_record == {"id": 1}
    assert (deleted.event, deleted.record, deleted.old_record) == ("DELETE", None, {"id": 1})
    assert abs(inserted.commit_timestamp - before) < timedelta(seconds=5)
    assert updated.transaction_id == deleted.transaction_id != inserted.transaction_id
    assert inserted.position < updated.position < deleted.position
    assert updated.position in repr(updated)


async def test_only_what_was_asked_for_comes(todos: Database):
    await run(todos, "create table notes (id int8 primary key, text text)")
    async with (
        pgcast.listen(todos.dsn, tables="todos", events=["INSERT"], filter="id=gte.3") as some_inserts,
        pgcast.listen(todos.dsn, tables=["public.notes", "todos"], events=["DELETE"]) as ends,
    ):
        await run(todos, "insert into todos select g, 'x' from generate_series(1, 4) g; insert into notes values (9)")
        await run(todos, "update todos set title = 'y'; delete from notes; insert into todos values (7)")
        assert await ids(some_inserts, 3) == [3, 4, 7]
        (deleted,) = await some(ends, 1)
        assert (deleted.event, deleted.table) == ("DELETE", "notes")


@pytest.mark.postgres(11, why="a TRUNCATE is not published")
async def test_a_truncate_comes_to_who_asks_for_it(todos: Database):
    async with pgcast.listen(todos.dsn, events=["TRUNCATE"]) as changes:
        await run(todos, "insert into todos values (1); truncate todos")
        (truncated,) = await some(changes, 1)
    assert (truncated.event, truncated.table, truncated.record) == ("TRUNCATE", "todos", None)


async def test_a_filter_that_only_postgres_can_decide_is_decided(todos: Database):
    async with pgcast.listen(todos.dsn, tables="todos", filter="title=match.^a.*z$") as changes:
        await run(todos, "insert into todos values (1, 'abc'), (2, 'abcz'), (3, 'z'), (4, 'az')")
        assert await ids(changes, 2) == [2, 4]


async def test_what_was_not_acknowledged_comes_again_and_nothing_else(todos: Database):
    async with pgcast.listen(todos.dsn, slot=SLOT) as changes:
        for number in range(1, 5):
            await run(todos, f"insert into todos values ({number})")
        assert await ids(changes, 3) == [1, 2, 3]
    async with pgcast.listen(todos.dsn, slot=SLOT) as changes:
        assert not changes.slot_created
        (third,) = await some(changes, 1)
        assert third.record is not None
        assert third.record["id"] == 3, "asking for the third acknowledged the second, and nobody asked for the fourth"
        await third.ack()
    async with pgcast.listen(todos.dsn, slot=SLOT) as changes:
        assert await ids(changes, 1) == [4]


async def test_by_hand_each_change_is_acknowledged_in_any_order(todos: Database):
    async with pgcast.listen(todos.dsn, slot=SLOT, ack="manual") as changes:
        for number in range(1, 5):
            await run(todos, f"insert into todos values ({number})")
        first, second, third, _ = await some(changes, 4)
        await third.ack()
        await first.ack()
    async with pgcast.listen(todos.dsn, slot=SLOT, ack="manual") as changes:
        assert await ids(changes, 3) == [2, 3, 4], "the slot knows one place, before the second"
    assert not second.is_done


async def test_the_slot_is_confirmed_while_the_program_runs_and_an_idle_one_pins_nothing(todos: Database):
    async with pgcast.listen(todos.dsn, tables="todos", slot=SLOT) as changes:
        start = confirmed(todos)
        await run(todos, "insert into todos values (1)")
        (change,) = await some(changes, 1)
        await asyncio.sleep(1.5)
        held = confirmed(todos)
        await run(todos, "create table others (id int8); insert into others select generate_series(1, 1000)")
        await change.ack()
        await asyncio.sleep(2.5)
        assert confirmed(todos) > held
    assert held >= start


async def test_a_consumer_that_acknowledges_nothing_gets_so_many_and_no_more(todos: Database):
    async with pgcast.listen(todos.dsn, ack="manual", max_unacknowledged=3) as changes:
        await run(todos, "insert into todos select generate_series(1, 10)")
        held = await some(changes, 3)
        fourth = asyncio.create_task(anext(changes))
        await asyncio.sleep(0.3)
        assert not fourth.done()
        await held[0].ack()
        async with asyncio.timeout(DEADLINE_S):
            change = await fourth
        assert change.record is not None
        assert change.record["id"] == 4


async def test_two_tasks_cannot_read_at_once(todos: Database):
    async with pgcast.listen(todos.dsn) as changes:
        first = asyncio.create_task(anext(changes))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(changes)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await run(todos, "insert into todos values (1)")
        assert await ids(changes, 1) == [1], "a wait that was cancelled lost nothing"


async def test_iterating_ends_with_the_block(todos: Database):
    async with pgcast.listen(todos.dsn) as changes:
        reading = asyncio.create_task(anext(changes, None))
        await asyncio.sleep(0.05)
    assert await reading is None
    assert [change async for change in changes] == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"tables": "nowhere"}, pgcast.BindingError, 'ADD TABLE "public"."nowhere"'),
        ({"tables": "a.b.c"}, pgcast.BindingError, '"my.schema".orders'),
        ({"tables": []}, pgcast.BindingError, "none at all"),
        ({"tables": "todos", "filter": "colour=eq.red"}, pgcast.BindingError, "invalid column for filter colour"),
        ({"tables": "todos", "filter": "title=match.("}, pgcast.BindingError, "invalid regular expression"),
        ({"tables": "todos", "filter": "id=eq.1", "events": ["TRUNCATE"]}, pgcast.BindingError, "TRUNCATE"),
        ({"events": ["insert"]}, pgcast.BindingError, '"INSERT"'),
        ({"publications": ["nothing"]}, pgcast.DatabaseError, "nothing"),
        ({"publications": []}, pgcast.SettingsError, "publications"),
        ({"slot": "Not A Name"}, pgcast.SettingsError, "Not A Name"),
        ({"ack": "sometimes"}, pgcast.SettingsError, "'manual'"),
        ({"ack": None}, pgcast.SettingsError, "found None"),
        ({"max_unacknowledged": 0}, pgcast.SettingsError, "max_unacknowledged"),
        ({"max_unacknowledged": "5"}, pgcast.SettingsError, "max_unacknowledged"),
        ({"dsn": None}, pgcast.SettingsError, "dsn: expected text (found None)"),
        ({"tables": None}, pgcast.SettingsError, "tables"),
        ({"tables": [5]}, pgcast.SettingsError, "tables"),
        ({"events": None}, pgcast.SettingsError, "events"),
        ({"filter": 5}, pgcast.SettingsError, "filter"),
        ({"slot": 5}, pgcast.SettingsError, "slot"),
        ({"publications": None}, pgcast.SettingsError, "publications"),
        ({"dsn": "postgresql://nobody:wrong@127.0.0.1:1/none"}, pgcast.DatabaseError, "127.0.0.1"),
        ({"dsn": "nonsense"}, pgcast.SettingsError, "connection string"),
    ],
    ids=str,
)
async def test_what_cannot_be_served_is_said(
    todos: Database, arguments: dict[str, Any], error: type[pgcast.PgcastError], words: str
):
    with pytest.raises(error) as raised:
        async with pgcast.listen(**{"dsn": todos.dsn, **arguments}):
            pass
    assert words in f"{raised.value.message} {raised.value.hint}"
    assert "SLOT_NAME" not in f"{raised.value.message} {raised.value.hint}", "a variable of the server's"
    assert slots(todos) == []


def slots(database: Database) -> list[str]:
    return [
        name
        for (name,) in database.execute(
            "select slot_name from pg_replication_slots where database = current_database()"
        )
    ]


async def test_a_call_that_fails_leaves_no_new_slot_behind_and_the_next_one_knows_that_it_is_the_first(todos: Database):
    with pytest.raises(pgcast.BindingError):
        async with pgcast.listen(todos.dsn, tables="nowhere", slot=SLOT):
            pass
    assert slots(todos) == []
    async with pgcast.listen(todos.dsn, tables="todos", slot=SLOT) as changes:
        assert changes.slot_created
    with pytest.raises(pgcast.BindingError):
        async with pgcast.listen(todos.dsn, tables="nowhere", slot=SLOT):
            pass
    assert slots(todos) == [SLOT], "one that was there already stays"


async def test_what_is_wrong_is_said_in_words_of_the_call(todos: Database):
    with pytest.raises(pgcast.DatabaseError) as raised:
        async with pgcast.listen("postgresql://nobody:wrong@127.0.0.1:1/none"):
            pass
    assert raised.value.hint == "is Postgres running there? look at the dsn"
    assert raised.value.__notes__ == ["fix: is Postgres running there? look at the dsn"]
