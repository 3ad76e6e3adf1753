"""A database that `pgcast init --realtime` has prepared, the server that follows it, and broadcasts taken apart."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from fix_node import node_factory
from fix_policies import ROLES
from minting import SECRET
from pgcast.postgres.connection import parse_target
from pgcast.postgres.preparation import prepare
from pgcast.postgres.setup import Wishes
from realtime_client import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fix_node import Node
    from pgcast.devdb.cluster import Cluster
    from pgcast.devdb.template import Database, Template
    from pgcast.postgres.setup import Plan
    from realtime_client import RealtimeClient

PUBLICATION = "supabase_realtime"


def initialize(dsn: str, *, is_dry: bool = False, **wishes: Any) -> Plan:
    """Do what `pgcast init` does."""
    return asyncio.run(
        prepare(parse_target(dsn), Wishes(publications=(PUBLICATION,), **wishes), is_dry=is_dry)  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def broadcasting(empty_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Node]]:
    """A database with the schema `realtime` and a table `todos`, and the server that follows it."""
    database = empty_template.copy()
    database.execute("create table todos (id int8 primary key, title text)")
    initialize(database.dsn, has_realtime=True)
    try:
        with node_factory(tmp_path_factory.mktemp("broadcasting")) as start:
            yield database, start(database.dsn)
    finally:
        database.drop()


@pytest.fixture(scope="module")
def guarded_broadcasting(
    cluster: Cluster, empty_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Database, Node]]:
    """The same with tokens: whoever has one may read `open:*`, and see who is there on `present:*`."""
    with cluster.connect() as connection:
        connection.execute(ROLES)
    database = empty_template.copy()
    initialize(database.dsn, has_realtime=True)
    database.execute("""
        create policy readers on realtime.messages for select to authenticated using (
            realtime.topic() like 'open:%' or (realtime.topic() like 'present:%' and extension = 'presence'))
    """)
    try:
        with node_factory(tmp_path_factory.mktemp("guarded")) as start:
            yield database, start(database.dsn, JWT_SECRET=SECRET, PGCAST_BIND="127.0.0.1")
    finally:
        database.drop()


@pytest.fixture
def initialized(database: Database) -> Database:
    """A database with the schema `realtime`, for one test."""
    initialize(database.dsn, has_realtime=True)
    return database


@dataclass(frozen=True)
class Heard:
    """A message as it came: the fields of a text, or those of a binary frame of kind 4."""

    event: str
    topic: str
    payload: Any
    is_binary: bool


def take_apart(content: str | bytes, *, is_v2: bool = True) -> Heard:
    """Read a message of the server's."""
    if isinstance(content, str):
        parsed = json.loads(content)
        _, _, topic, event, payload = (
            parsed if is_v2 else (None, None, *(parsed[k] for k in ("topic", "event", "payload")))
        )
        return Heard(event, topic, payload, is_binary=False)
    # 4 | topic, user event, metadata sizes | encoding | topic | user event | metadata | user payload
    kind, *sizes, encoding = content[:5]
    assert kind == 4
    parts, at = [], 5
    for size in sizes:
        parts.append(content[at : at + size].decode())
        at += size
    topic, event, meta = parts
    payload: dict[str, Any] = {"event": event, "payload": json.loads(content[at:]) if encoding else content[at:]}
    if meta:
        payload["meta"] = json.loads(meta)
    return Heard("broadcast", topic, payload, is_binary=True)


async def hear(client: RealtimeClient, *events: str, is_v2: bool = True) -> Heard:
    """Return the next message of one of these events; `broadcast` if none is named."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            heard = take_apart(await client.socket.recv(), is_v2=is_v2)
            if heard.event in (events or ("broadcast",)):
                return heard
