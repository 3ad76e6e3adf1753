"""Databases with another encoding, or with settings that change the text of values."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from fix_node import NodeFactory
from pgcast.devdb.cluster import Cluster
from pgcast.devdb.template import Database, drop_database
from realtime_client import RealtimeClient

EVERYTHING = {"event": "*", "schema": "*"}


@contextlib.contextmanager
def encoded(cluster: Cluster, encoding: str) -> Iterator[Database]:
    made = Database(cluster, f"db_{encoding.lower()}_{secrets.token_hex(4)}")
    with cluster.connect() as connection:
        connection.execute(
            sql.SQL("create database {} template template0 encoding {} lc_collate 'C' lc_ctype 'C'").format(
                sql.Identifier(made.name), sql.Literal(encoding)
            )
        )
        try:
            yield made
        finally:
            drop_database(connection, made.name)


async def test_a_latin1_database_is_read_as_what_it_means(cluster: Cluster, start_node: NodeFactory):
    with encoded(cluster, "LATIN1") as database:
        database.execute("""
            create table "größe" ("schlüssel" text primary key, j jsonb, ts text[]);
            create publication supabase_realtime for all tables
        """)
        async with RealtimeClient(start_node(database.dsn).url) as client:
            await client.join(
                "realtime:room", {**EVERYTHING, "schema": "public", "table": "größe", "filter": "schlüssel=eq.é"}
            )
            database.execute("""insert into "größe" values ('é', '{"ä": "ö"}', array['ß', 'a ü']), ('e', null, null)""")
            (change,) = await client.changes(1)
            await client.nothing_more(0.1)
        assert change["table"] == "größe"
        assert change["record"] == {"schlüssel": "é", "j": {"ä": "ö"}, "ts": ["ß", "a ü"]}


UNREADABLE = {
    # encoding: what has no UTF-8 form in it, as hexadecimal bytes; a text that has one; the same as it is read then
    "WIN1252": ("81", "größe €", "größe €"),
    "EUC_JP": ("a9a1", "日本", "日本"),
    "EUC_TW": ("8ea7fefe", "abc", "abc"),
}


@pytest.mark.parametrize("encoding", UNREADABLE)
async def test_a_character_without_utf8_form_ends_the_stream_but_not_for_good(
    cluster: Cluster, start_node: NodeFactory, encoding: str
):
    unreadable, name, read = UNREADABLE[encoding]
    with (
        encoded(cluster, encoding) as database,
        psycopg.connect(database.dsn, autocommit=True, client_encoding="UTF8") as writer,
    ):
        writer.execute(f"""
            create type "{name}" as enum ('sad');
            create table t (id int primary key, v text, vs text[], "{name}" "{name}");
            create publication "{name}" for all tables
        """)
        node = start_node(database.dsn, PUBLICATIONS=f'["{name}"]')
        async with RealtimeClient(node.url) as client:
            await client.join("realtime:room", EVERYTHING)
            with writer.transaction():
                writer.execute("insert into t values (1, %s)", (name,))
                text = f"convert_from('\\x{unreadable}', '{encoding}')"
                writer.execute(f"insert into t values (2, 'a' || {text} || 'z', array[{text}])")
                writer.execute("insert into t values (3, %s, array[%s], 'sad')", (name, name))
                writer.execute("update t set id = 4 where id = 3")
                writer.execute("delete from t where id = 4")
            changes = await client.changes(5)
            await client.nothing_more(0.2)
        first, second, *others = (change.get("record") for change in changes)
        assert first == {"id": 1, "v": name, "vs": None, name: None}
        assert second is not None
        assert second["v"][0] == "a"
        assert "\ufffd" in second["v"]
        assert "\ufffd" in second["vs"][0]
        assert others == [{"id": row_id, "v": read, "vs": [read], read: "sad"} for row_id in (3, 4)] + [None]
        assert "has no equivalent in encoding" in node.log()
        assert "comes as U+FFFD" in node.log()


async def test_bytes_without_an_encoding_are_read_as_far_as_they_are_utf8(cluster: Cluster, start_node: NodeFactory):
    with encoded(cluster, "SQL_ASCII") as database:
        database.execute("""
            create table t (id int primary key, v text, vs text[], j json);
            create publication supabase_realtime for all tables
        """)
        async with RealtimeClient(start_node(database.dsn).url) as client:
            await client.join("realtime:room", EVERYTHING)
            with psycopg.connect(database.dsn, autocommit=True, client_encoding="SQL_ASCII") as connection:
                connection.execute("insert into t values (1, 'größe', '{ü}', '\"ä\"')".encode())
                connection.execute("insert into t values (2, 'gr\xf6\xdfe', '{\xfc,x}', '\"\xe4\"')".encode("latin1"))
            first, second = await client.changes(2)
        assert first["record"] == {"id": 1, "v": "größe", "vs": ["ü"], "j": "ä"}
        assert second["record"] == {"id": 2, "v": "gr\ufffd\ufffde", "vs": ["\ufffd", "x"], "j": "\ufffd"}


async def test_names_without_an_encoding_disturb_nobody(cluster: Cluster, start_node: NodeFactory):
    with encoded(cluster, "SQL_ASCII") as database:
        database.execute("create table t (id int primary key); create publication supabase_realtime for all tables")
        with psycopg.connect(database.dsn, autocommit=True, client_encoding="SQL_ASCII") as connection:
            connection.execute("create type \"art\xdf\" as enum ('x')".encode("latin1"))
            connection.execute('create table "gr\xf6\xdfe" ("schl\xfcssel" "art\xdf" primary key)'.encode("latin1"))
            async with RealtimeClient(start_node(database.dsn).url) as client:
                await client.join("realtime:room", EVERYTHING)
                await client.join("realtime:t", {"event": "*", "schema": "public", "table": "t", "filter": "id=eq.1"})
                connection.execute("insert into \"gr\xf6\xdfe\" values ('x')".encode("latin1"))
                connection.execute("insert into t values (1)")
                changes = await client.changes(3)
        assert changes[0]["record"] == {"schl\ufffdssel": "x"}
        assert [change["record"] for change in changes[1:]] == [{"id": 1}] * 2


SETTINGS = {
    "datestyle": "sql, dmy",
    "intervalstyle": "iso_8601",
    "timezone": "'Asia/Kathmandu'",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "latin9",
    "search_path": "nowhere",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "default_transaction_read_only": "on",
}


@pytest.mark.parametrize("of", ["database", "role"])
async def test_settings_of_the_database_change_no_value(database: Database, start_node: NodeFactory, of: str):
    role = f"role_{secrets.token_hex(4)}"
    subject = {"role": ("role", role), "database": ("database", database.name)}[of]
    with database.connect() as connection:
        connection.execute(f"create role {role} superuser replication login")
        connection.execute(
            "create table t (d date, ts timestamp, tz timestamptz, i interval, b bytea, f float8, c regclass)"
        )
        connection.execute("create publication supabase_realtime for all tables")
        for name, value in SETTINGS.items():
            connection.execute(f"alter {subject[0]} {subject[1]} set {name} to {value}")
        try:
            node = start_node(database.dsn.replace("//postgres@", f"//{role}@"))
            async with RealtimeClient(node.url) as client:
                await client.join(
                    "realtime:room", {"event": "*", "schema": "public", "table": "t", "filter": "d=eq.2026-01-02"}
                )
                connection.execute("""
                    insert into t values ('2026-01-02', '2026-01-02 03:04:05', '2026-01-02 03:04:05+00',
                        '1 year 2 days 03:04:05', decode('00ff27', 'hex'), 0.1::float8 + 0.2, 't')
                """)
                (change,) = await client.changes(1)
            node.stop()
        finally:
            connection.execute(f"drop role {role}")
    assert change["record"] == {
        "d": "2026-01-02",
        "ts": "2026-01-02T03:04:05",
        "tz": "2026-01-02T03:04:05+00:00",
        "i": "1 year 2 days 03:04:05",
        "b": "00ff27",
        "f": 0.1 + 0.2,
        "c": "public.t",
    }
