"""Every row, once, in order, to every client: however it was written."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from faults.following import TODOS, ids_until, joined
from fix_node import Node, clean_environment
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

CLIENTS = 50


Psql = tuple[Path, Mapping[str, str]]


def write_with_psql(database: Database, psql: Psql, first: int, last: int) -> None:
    program, environment = psql
    sql = f"insert into todos select n, 'psql' from generate_series({first}, {last}) n;\n"
    subprocess.run(
        [str(program), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.tcp_dsn],
        input=sql.encode(),
        env={**clean_environment(), **environment},
        check=True,
    )


def write_with_copy(database: Database, first: int, last: int) -> None:
    with database.connect() as connection, connection.cursor().copy("copy todos (id, title) from stdin") as copy:
        for number in range(first, last + 1):
            copy.write_row((number, "copy"))


def write_one_by_one(database: Database, first: int, last: int) -> None:
    with database.connect() as connection:
        connection.execute("set synchronous_commit = off")
        for number in range(first, last + 1):
            connection.execute("insert into todos values (%s, 'driver')", (number,))


def write_all(database: Database, psql: Psql) -> None:
    write_with_psql(database, psql, 1, 10_000)
    write_one_by_one(database, 10_001, 15_000)
    write_with_copy(database, 15_001, 15_500)
    write_one_by_one(database, 15_501, 20_000)


async def test_twenty_thousand_rows_reach_fifty_clients_in_order(node: Node, published: Database, psql: Psql):
    sockets = await asyncio.gather(*(joined(node.url, f"realtime:room:{number % 5}") for number in range(CLIENTS)))
    followers = [asyncio.create_task(ids_until(socket, 20_000, 150)) for socket in sockets]
    await asyncio.to_thread(write_all, published, psql)
    for got in await asyncio.gather(*followers):
        assert got == list(range(1, 20_001))
    for socket in sockets:
        await socket.close()


async def test_a_value_of_twenty_megabytes_is_delivered(node: Node, published: Database):
    async with RealtimeClient(node.url) as client:
        await client.join("realtime:room", TODOS)
        published.execute("insert into todos values (1, repeat('x', 20000000))")
        (change,) = await client.changes(1, 60)
    assert len(change["record"]["title"]) == 20_000_000
