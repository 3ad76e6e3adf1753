from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
import uvloop

from pgcast.model.errors import (
    ConnectionFailed,
    NotPrepared,
    PgcastError,
    SlotBusy,
    SlotLost,
    StreamEnded,
)
from pgcast.model.lsn import NO_LSN, Lsn, parse_lsn
from pgcast.postgres.connection import Target, parse_target
from pgcast.postgres.replication import ReplicationSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SLOT = "pgcast_test"


@pytest.fixture(params=["unix", "tcp"])
def target(request, database):
    return parse_target(database.dsn if request.param == "unix" else database.tcp_dsn)


@pytest.fixture
def published(database):
    """A database with a table and a publication of everything."""
    database.execute("CREATE TABLE items (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR ALL TABLES")
    return database


@contextlib.asynccontextmanager
async def opened(source: ReplicationSource, after: Lsn = NO_LSN) -> AsyncIterator[ReplicationSource]:
    await open_when_free(source, after)
    try:
        yield source
    finally:
        await source.close()


async def open_when_free(source, after=NO_LSN):
    # The walsender of the connection before needs a moment to notice that it is gone.
    for _ in range(200):
        try:
            return await source.open(after)
        except SlotBusy:
            await asyncio.sleep(0.02)
    return await source.open(after)


async def read_until(source: ReplicationSource, is_last: Callable[[bytes], bool]) -> list[bytes]:
    """Return all envelopes up to one, within ten seconds."""
    envelopes: list[bytes] = []
    async with asyncio.timeout(10):
        while not any(map(is_last, envelopes)):
            envelopes += await source.read()
    return envelopes


def is_commit(envelope):
    return envelope[:1] == b"w" and envelope[25:26] == b"C"


def is_keepalive(envelope):
    return envelope[:1] == b"k"


def ids(envelopes):
    """Return the first column of every Insert: byte I, OID, byte N, count, byte t, length, text."""
    found = []
    for envelope in envelopes:
        if envelope[25:26] == b"I":
            (length,) = struct.unpack_from("!I", envelope, 34)
            found.append(int(envelope[38 : 38 + length]))
    return found


def end_of_commit(envelopes):
    """Return the last Commit's end LSN: byte C, flags, LSN, end LSN."""
    (end_lsn,) = struct.unpack_from("!Q", [one for one in envelopes if is_commit(one)][-1], 25 + 10)
    return Lsn(end_lsn)


def confirmed(database, slot):
    ((text,),) = database.execute(
        "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s", [slot]
    )
    return parse_lsn(text)


async def test_the_first_open_makes_the_slot_and_the_next_one_goes_on_with_it(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"])
    start = await source.open(NO_LSN)
    assert (start.slot, start.slot_created) == (slot, True)
    assert [(str(start.system_identifier), start.database, start.server_version)] == published.execute(
        "SELECT system_identifier::text, (SELECT oid::text FROM pg_database WHERE datname = current_database()),"
        " current_setting('server_version_num')::int FROM pg_control_system()"
    )
    assert start.confirmed_lsn == confirmed(published, slot)
    await source.close()
    published.execute("INSERT INTO items VALUES (1, 'while nobody listens')")
    again = await open_when_free(source)
    assert not again.slot_created
    assert again.confirmed_lsn == start.confirmed_lsn
    assert ids(await read_until(source, is_commit)) == [1]
    await source.close()
    await source.close()


async def test_the_envelope_that_proved_the_start_is_read_first(published, target, slot):
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        first, *_ = await source.read()
        assert is_keepalive(first)


async def test_commits_up_to_the_given_place_are_skipped(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"])
    async with opened(source):
        published.execute("INSERT INTO items VALUES (1)")
        end = end_of_commit(await read_until(source, is_commit))
        published.execute("INSERT INTO items VALUES (2)")
        await read_until(source, is_commit)
    async with opened(source, after=end):
        assert ids(await read_until(source, is_commit)) == [2]


async def test_a_connection_cut_in_a_transaction_brings_all_of_it_again(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"], read_limit_bytes=10_000)
    async with opened(source):
        published.execute("INSERT INTO items SELECT generate_series(1, 5000)")
        seen = await read_until(source, lambda envelope: ids([envelope]) == [100])
        assert not any(map(is_commit, seen))
    async with opened(source):
        assert ids(await read_until(source, is_commit)) == list(range(1, 5001))


async def test_a_backlog_comes_whole_and_in_order(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"])
    await source.open(NO_LSN)
    await source.close()
    published.execute("INSERT INTO items SELECT i, 'row ' || i FROM generate_series(1, 200000) i")
    async with opened(source):
        found, largest = [], 0
        async with asyncio.timeout(60):
            while len(found) < 200_000:
                envelopes = await source.read()
                largest = max(largest, sum(map(len, envelopes)))
                found += ids(envelopes)
        assert found == list(range(1, 200_001))
        assert largest < (1 << 20) + 1000


async def test_a_value_larger_than_the_limit_comes_in_one_piece(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"], read_limit_bytes=1000)
    async with opened(source):
        published.execute("INSERT INTO items VALUES (1, repeat('x', 5000000)), (2, 'small')")
        envelopes = await read_until(source, is_commit)
        assert max(map(len, envelopes)) > 5_000_000
        assert ids(envelopes) == [1, 2]


async def test_a_cancelled_read_loses_nothing(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"], read_limit_bytes=1000)
    async with opened(source):
        published.execute("INSERT INTO items SELECT generate_series(1, 5000)")
        found, cancelled, turns = [], 0, 0
        async with asyncio.timeout(30):
            while len(found) < 5000:
                reading = asyncio.ensure_future(source.read())
                # Cancelled before its first wait, in it, after it, and so on; every now and then not at all.
                turns = (turns + 1) % 6
                for _ in range(turns):
                    await asyncio.sleep(0)
                if turns < 5:
                    reading.cancel()
                try:
                    found += ids(await reading)
                except asyncio.CancelledError:
                    cancelled += 1
        assert found == list(range(1, 5001))
        assert cancelled > 50


async def read_for_ever(source):
    while True:
        await source.read()


async def test_a_status_that_asks_is_answered_at_once(published, target, slot):
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read_for_ever(source), 0.3)
        source.send_status(NO_LSN, NO_LSN, reply_requested=True)
        answers = await read_until(source, is_keepalive)
        # Byte k, end of the WAL read, time, byte: whether a reply is wanted.
        assert {(len(answer), answer[-1]) for answer in answers} == {(18, 0)}


async def test_only_a_flush_moves_what_the_slot_has_confirmed(published, target, slot):
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        published.execute("INSERT INTO items VALUES (1)")
        end = end_of_commit(await read_until(source, is_commit))
        before = confirmed(published, slot)
        source.send_status(end, NO_LSN, reply_requested=True)
        await read_until(source, is_keepalive)
        assert confirmed(published, slot) == before < end
        source.send_status(end, end, reply_requested=True)
        await read_until(source, is_keepalive)
        assert confirmed(published, slot) == end


@pytest.mark.parametrize("is_behind", [False, True])
async def test_what_is_confirmed_last_has_been_read_when_the_stream_is_ended(published, target, slot, is_behind):
    source = ReplicationSource(target, slot=slot, publications=["p"])
    await source.open(NO_LSN)
    published.execute("INSERT INTO items VALUES (1)")
    end = end_of_commit(await read_until(source, is_commit))
    if is_behind:
        published.execute("INSERT INTO items SELECT generate_series(2, 20000)")
    async with asyncio.timeout(5):
        await source.finish(end, end)
        await source.finish(end, end)
    assert confirmed(published, slot) == end
    with pytest.raises(StreamEnded, match="not open"):
        await source.read()


async def test_a_status_without_a_connection_is_dropped(target, slot):
    ReplicationSource(target, slot=slot, publications=["p"]).send_status(NO_LSN, NO_LSN)


async def test_a_walsender_that_may_have_slept_through_a_commit_is_woken_once(published, slot, version):
    if version < 16:
        pytest.skip("before version 16 a walsender misses no commit")

    def last_heard():
        ((at,),) = published.execute(
            "SELECT reply_time FROM pg_stat_replication JOIN pg_replication_slots ON pid = active_pid"
            " WHERE slot_name = %s",
            [slot],
        )
        return at

    async with opened(ReplicationSource(parse_target(published.dsn), slot=slot, publications=["p"])) as source:
        published.execute("INSERT INTO items VALUES (1)")
        await read_until(source, is_commit)
        before = last_heard()
        reading = asyncio.ensure_future(read_for_ever(source))
        for _ in range(500):
            if last_heard() != before:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        heard = last_heard()
        assert heard > before
        await asyncio.sleep(0.3)
        assert last_heard() == heard
        reading.cancel()


async def test_statuses_that_postgres_does_not_read_do_not_block(published, target, slot):
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        await source.read()
        # Far more than the socket's buffers hold; the walsender reads them once it comes to it.
        for _ in range(100_000):
            source.send_status(NO_LSN, NO_LSN)
        source.send_status(NO_LSN, NO_LSN, reply_requested=True)
        published.execute("INSERT INTO items VALUES (1)")
        assert ids(await read_until(source, is_commit)) == [1]


async def test_a_read_that_waits_ends_when_the_source_is_closed(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"])
    await source.open(NO_LSN)
    reading = asyncio.ensure_future(read_until(source, is_commit))
    await asyncio.sleep(0.05)
    await source.close()
    with pytest.raises(StreamEnded, match="closed"):
        await reading
    with pytest.raises(StreamEnded, match="not open"):
        await source.read()


def test_another_event_loop_will_do(published, target, slot):
    async def listen():
        async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
            await asyncio.to_thread(published.execute, "INSERT INTO items SELECT generate_series(1, 50000)")
            envelopes = await read_until(source, is_commit)
            source.send_status(end_of_commit(envelopes), end_of_commit(envelopes), reply_requested=True)
            await read_until(source, is_keepalive)
            return ids(envelopes)

    assert uvloop.run(listen()) == list(range(1, 50_001))


async def test_pausing_costs_nothing(published, target, slot):
    """A socket that is readable while nobody reads does not keep the loop busy."""
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        await source.read()
        reading = asyncio.ensure_future(source.read())
        await asyncio.sleep(0.05)
        reading.cancel()
        published.execute("INSERT INTO items VALUES (1)")
        before = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - before < 0.2
        assert ids(await read_until(source, is_commit)) == [1]


async def test_names_may_hold_anything(database, target, slot):
    name = 'a "b".c, \'d\\ 🐘'
    with database.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY)")
        connection.execute(
            psycopg.sql.SQL("CREATE PUBLICATION {} FOR TABLE items").format(psycopg.sql.Identifier(name))
        )
    async with opened(ReplicationSource(target, slot=slot, publications=[name, name])) as source:
        database.execute("INSERT INTO items VALUES (7)")
        assert ids(await read_until(source, is_commit)) == [7]


async def test_a_temporary_slot_ends_with_its_connection(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"], temporary_slot=True)
    async with opened(source):
        assert published.execute("SELECT temporary FROM pg_replication_slots WHERE slot_name = %s", [slot]) == [(True,)]
    start = await open_when_free(source)
    assert start.slot_created
    await source.close()


async def failure_of(source) -> PgcastError:
    with pytest.raises(PgcastError) as caught:
        await source.open(NO_LSN)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


async def later_failure_of(source, *, not_yet) -> PgcastError:
    """Return the error once it is not the one of a connection before, which is still going."""
    for _ in range(200):
        error = await failure_of(source)
        if not not_yet(error):
            return error
        await asyncio.sleep(0.02)
    return error


async def test_a_missing_publication_is_said_before_a_slot_is_made(published, target, slot):
    error = await failure_of(ReplicationSource(target, slot=slot, publications=["p", 'mis"sing']))
    assert isinstance(error, NotPrepared)
    assert error.message.endswith('no publication "mis""sing" (there: "p")')
    assert 'CREATE PUBLICATION "mis""sing" FOR ALL TABLES;' in error.hint
    assert published.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", [slot]) == [(0,)]


async def test_a_publication_dropped_since_is_said_at_the_next_open(published, target, slot):
    source = ReplicationSource(target, slot=slot, publications=["p"])
    await source.open(NO_LSN)
    await source.close()
    published.execute("DROP PUBLICATION p")
    assert isinstance(await failure_of(source), NotPrepared)


@pytest.mark.postgres(10, last=17, why="from version 18 on Postgres says nothing")
async def test_a_publication_dropped_under_the_stream_ends_it_with_the_way_out(published, slot):
    source = ReplicationSource(parse_target(published.dsn), slot=slot, publications=["p"])
    async with opened(source):
        published.execute("DROP PUBLICATION p")
        published.execute("INSERT INTO items VALUES (1)")
        with pytest.raises(NotPrepared, match='publication "p" does not exist') as caught:
            # Below 15 the statement that drops it comes as a transaction without changes.
            await read_until(source, lambda envelope: ids([envelope]) != [])
        assert 'CREATE PUBLICATION "p" FOR ALL TABLES;' in caught.value.hint
        assert f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn());" in caught.value.hint


async def test_a_slot_in_use_is_said_with_its_holder(published, target, slot):
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])):
        error = await failure_of(ReplicationSource(target, slot=slot, publications=["p"]))
        ((pid,),) = published.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", [slot])
    assert isinstance(error, SlotBusy)
    assert f"is active for PID {pid}" in error.message
    assert "SLOT_NAME" in error.hint
    assert f"slot_name = '{slot}'" in error.hint


async def test_a_slot_of_another_plugin_or_database_is_left_alone(published, target, slot, empty_template):
    published.execute("SELECT pg_create_physical_replication_slot(%s)", [slot])
    error = await failure_of(ReplicationSource(target, slot=slot, publications=["p"]))
    assert isinstance(error, NotPrepared)
    assert f'slot "{slot}" belongs to physical replication' in error.message
    published.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    published.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    other = empty_template.copy()
    try:
        other.execute("CREATE PUBLICATION p FOR ALL TABLES")
        error = await failure_of(ReplicationSource(parse_target(other.dsn), slot=slot, publications=["p"]))
        assert isinstance(error, NotPrepared)
        assert f'database "{published.name}"' in error.message
        assert f"SELECT pg_drop_replication_slot('{slot}');" in error.hint
    finally:
        other.drop()


def with_role(database, role):
    """Return the target of a role with its own password."""
    database.execute(
        psycopg.sql.SQL("DROP ROLE IF EXISTS {0}; CREATE ROLE {0} LOGIN PASSWORD 'sesame-42'").format(
            psycopg.sql.Identifier(role)
        )
    )
    target = parse_target(database.tcp_dsn)
    return Target(host=target.host, port=target.port, dbname=target.dbname, user=role, password="sesame-42")


@pytest.fixture
def role(database):
    name = f"role_{database.name}"
    yield name
    database.execute(psycopg.sql.SQL("DROP ROLE IF EXISTS {}").format(psycopg.sql.Identifier(name)))


async def test_a_role_without_replication_is_told_the_statement(published, slot, role):
    error = await failure_of(ReplicationSource(with_role(published, role), slot=slot, publications=["p"]))
    assert isinstance(error, NotPrepared)
    assert f'ALTER ROLE "{role}" WITH REPLICATION;' in error.hint


async def test_a_role_with_nothing_but_replication_reads_everything(published, slot, role):
    target = with_role(published, role)
    published.execute(psycopg.sql.SQL("ALTER ROLE {} REPLICATION").format(psycopg.sql.Identifier(role)))
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        published.execute("INSERT INTO items VALUES (1)")
        assert ids(await read_until(source, is_commit)) == [1]


async def test_a_wrong_password_is_said_without_it(published, slot, role):
    target = with_role(published, role)
    wrong = Target(host=target.host, port=target.port, dbname=target.dbname, user=role, password="open-barley")
    error = await failure_of(ReplicationSource(wrong, slot=slot, publications=["p"]))
    assert isinstance(error, ConnectionFailed)
    assert "password authentication failed" in error.message
    assert "DB_PASSWORD" in error.hint
    assert "barley" not in repr(error) + error.hint + repr(wrong) + str(wrong)


async def test_a_missing_password_a_missing_role_and_a_missing_database_are_told_apart(database, slot):
    target = parse_target(database.tcp_dsn)
    no_password = Target(host=target.host, port=target.port, dbname=target.dbname, user=target.user)
    error = await failure_of(ReplicationSource(no_password, slot=slot, publications=["p"]))
    assert "DB_PASSWORD" in error.hint
    socket = parse_target(database.dsn)
    no_role = Target(host=socket.host, port=socket.port, dbname=socket.dbname, user="nobody here")
    error = await failure_of(ReplicationSource(no_role, slot=slot, publications=["p"]))
    assert isinstance(error, ConnectionFailed)
    assert 'CREATE ROLE "nobody here"' in error.hint
    no_database = Target(host=socket.host, port=socket.port, dbname='no "such"', user=socket.user)
    error = await failure_of(ReplicationSource(no_database, slot=slot, publications=["p"]))
    assert isinstance(error, ConnectionFailed)
    assert 'CREATE DATABASE "no ""such""";' in error.hint


async def test_nobody_listening_and_no_such_host_are_told_apart():
    closed = Target(host="127.0.0.1", port="1", user="a", dbname="b")
    error = await failure_of(ReplicationSource(closed, slot=SLOT, publications=["p"]))
    assert isinstance(error, ConnectionFailed)
    assert error.message.startswith("a@127.0.0.1:1/b: ")
    assert "DB_HOST" in error.hint
    unknown = Target(host="no-such-host.invalid", user="a", dbname="b")
    error = await failure_of(ReplicationSource(unknown, slot=SLOT, publications=["p"]))
    assert "check the host" in error.hint


async def test_wal_level_is_said_before_anything_is_made(own_cluster):
    cluster = own_cluster(settings={"wal_level": "replica"})
    with cluster.connect() as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
    error = await failure_of(ReplicationSource(parse_target(cluster.dsn()), slot=SLOT, publications=["p"]))
    assert isinstance(error, NotPrepared)
    assert "wal_level is replica" in error.message
    assert error.hint == "ALTER SYSTEM SET wal_level = 'logical'; and restart Postgres"


async def test_running_out_of_slots_and_walsenders_is_said(own_cluster):
    cluster = own_cluster(settings={"max_replication_slots": 1, "max_wal_senders": 1})
    with cluster.connect() as connection:
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
    target = parse_target(cluster.dsn())
    async with opened(ReplicationSource(target, slot="first", publications=["p"])):
        error = await failure_of(ReplicationSource(target, slot="second", publications=["p"]))
        assert isinstance(error, NotPrepared)
        assert "ALTER SYSTEM SET max_wal_senders" in error.hint
    error = await later_failure_of(
        ReplicationSource(target, slot="second", publications=["p"]),
        not_yet=lambda error: "max_wal_senders" in error.hint,
    )
    assert isinstance(error, NotPrepared)
    assert "ALTER SYSTEM SET max_replication_slots" in error.hint
    assert "pg_drop_replication_slot" in error.hint


async def test_a_fast_stop_ends_the_stream_and_the_next_open_goes_on(own_cluster):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("CREATE TABLE items (id int PRIMARY KEY)")
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
    source = ReplicationSource(parse_target(cluster.dsn()), slot=SLOT, publications=["p"])
    await source.open(NO_LSN)
    with cluster.connect() as connection:
        connection.execute("INSERT INTO items VALUES (1)")
    await read_until(source, is_commit)

    async def answer_until_the_end():
        while True:
            for envelope in await source.read():
                if is_keepalive(envelope):
                    (end_lsn,) = struct.unpack_from("!Q", envelope, 1)
                    source.send_status(end_lsn, NO_LSN)

    stop = threading.Thread(target=cluster.stop)
    stop.start()
    with pytest.raises(StreamEnded):
        await asyncio.wait_for(answer_until_the_end(), 20)
    await asyncio.to_thread(stop.join)
    assert isinstance(await failure_of(source), ConnectionFailed)
    await asyncio.to_thread(cluster.start)
    async with opened(source):
        assert ids(await read_until(source, is_commit)) == [1]


async def test_a_killed_postgres_ends_the_stream_each_time_it_is_read(own_cluster):
    cluster = own_cluster()
    with cluster.connect() as connection:
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
    source = ReplicationSource(parse_target(cluster.tcp_dsn()), slot=SLOT, publications=["p"])
    await source.open(NO_LSN)
    await asyncio.to_thread(cluster.kill)
    for _ in range(2):
        with pytest.raises(StreamEnded):
            await read_until(source, is_commit)
    source.send_status(NO_LSN, NO_LSN)
    await source.close()


async def test_a_terminated_walsender_says_why(published, target, slot):
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        await source.read()
        published.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [slot]
        )
        with pytest.raises(StreamEnded, match="terminating connection due to administrator command"):
            await read_until(source, is_commit)


@pytest.mark.postgres(13, why="no slot is invalidated before version 13")
@pytest.mark.postgres(12, why="before, wal_sender_timeout is the server's alone")
def test_the_socket_of_a_stream_that_broke_is_nobody_elses(published, slot):
    """libpq closes it when it finds the end, perhaps behind changes that were still there; its number is free then."""
    target = replace(parse_target(published.dsn), options="-c wal_sender_timeout=1s")
    complaints = []

    async def read_beside_others() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
            reading = asyncio.create_task(read_until(source, is_commit))
            await asyncio.sleep(0.1)
            # Without a turn of the loop, so that the change and the end, which comes without a word, arrive together.
            published.execute("INSERT INTO items VALUES (1)")
            time.sleep(2)  # noqa: ASYNC251
            assert ids(await reading) == [1]
            ours, theirs = zip(*(socket.socketpair() for _ in range(10)), strict=True)
            streams = [await asyncio.open_connection(sock=one) for one in ours]
            for one in theirs:
                one.sendall(b"hello")
            async with asyncio.timeout(5):
                assert [await reader.read(5) for reader, _ in streams] == [b"hello"] * 10
            with pytest.raises(StreamEnded):
                await source.read()
            for _, writer in streams:
                writer.close()
            for one in theirs:
                one.close()

    # On the loop that the server runs on, which does not tell of a descriptor that was closed.
    uvloop.run(read_beside_others())
    assert not complaints


@pytest.mark.postgres(13, why="slots keep WAL without a limit before")
async def test_an_invalidated_slot_is_lost(own_cluster):
    cluster = own_cluster(settings={"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"})
    with cluster.connect() as connection:
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
        source = ReplicationSource(parse_target(cluster.dsn()), slot=SLOT, publications=["p"])
        await source.open(NO_LSN)
        await source.close()
        for _ in range(5):
            connection.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, '', 'x')")
        connection.execute("CHECKPOINT")
        error = await later_failure_of(source, not_yet=lambda error: isinstance(error, SlotBusy))
    assert isinstance(error, SlotLost)
    assert f"SELECT pg_drop_replication_slot('{SLOT}');" in error.hint


async def test_making_a_slot_that_has_to_wait_can_be_given_up(published, target, slot):
    with published.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO items VALUES (1)")
        source = ReplicationSource(target, slot=slot, publications=["p"], create_timeout_s=0.3)
        error = await failure_of(source)
        assert isinstance(error, NotPrepared)
        assert "pg_stat_activity" in error.hint
        opening = asyncio.ensure_future(ReplicationSource(target, slot=slot, publications=["p"]).open(NO_LSN))
        await asyncio.sleep(0.2)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert published.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", [slot]) == [(0,)]
    async with opened(source):
        published.execute("INSERT INTO items VALUES (2)")
        assert ids(await read_until(source, is_commit)) == [2]


async def test_settings_of_the_database_do_not_change_the_text_of_values(database, target, slot):
    with database.connect() as connection:
        for setting in ("datestyle = 'German'", "timezone = 'Asia/Tokyo'", "bytea_output = 'escape'"):
            connection.execute(f'ALTER DATABASE "{database.name}" SET {setting}')
        connection.execute("CREATE TABLE v (at timestamptz, raw bytea); ALTER TABLE v REPLICA IDENTITY FULL")
        connection.execute("CREATE PUBLICATION p FOR ALL TABLES")
    async with opened(ReplicationSource(target, slot=slot, publications=["p"])) as source:
        database.execute("INSERT INTO v VALUES ('2026-01-02 03:04:05+00', '\\x00ff')")
        envelopes = await read_until(source, is_commit)
    assert any(b"2026-01-02 03:04:05+00" in one and b"\\x00ff" in one for one in envelopes)
