"""Changes as applications see them, where one test for all clients side by side is enough."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from fix_clients import EACH_KIND, EACH_OF_TODAY, Application, Client, Schema, application
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database

# Whose WebSockets have no limit of 1 MiB.
LARGE_READERS = tuple(client for client in EACH_OF_TODAY if not client.is_python)

LOSE_THE_SLOT = """
    do $$ begin
        perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}';
        for n in 1..1000 loop
            begin
                perform pg_drop_replication_slot('{slot}');
                return;
            exception when object_in_use then perform pg_sleep(0.01);
            end;
        end loop;
        raise 'the slot is still in use';
    end $$
"""


async def start(stack: AsyncExitStack, clients: tuple[Client, ...], node: Node, schema: Schema) -> list[Application]:
    """Start an application with each client, which listens to the todos."""
    apps = []
    for client in clients:
        topic = f"realtime:{schema.name}:todos" if client.is_legacy else "room"
        app = application(client, node, {"topic": topic, "bindings": [schema.binding("*", "todos")]})
        apps.append(await stack.enter_async_context(app))
        await app.gets_status("SUBSCRIBED", topic)
    return apps


@pytest.mark.behaviour("change over 1 MiB", clients=LARGE_READERS)
async def test_a_row_of_two_megabytes_arrives(shared_node: Node, schema: Schema):
    async with AsyncExitStack() as stack:
        apps = await start(stack, LARGE_READERS, shared_node, schema)
        schema.execute("insert into todos values (1, repeat('x', 2000000))")
        for app in apps:
            assert len((await app.get("change"))["change"]["new"]["title"]) == 2_000_000, app.client


@pytest.mark.behaviour("gap", clients=EACH_KIND)
async def test_a_gap_is_told(shared_database: Database, start_node: NodeFactory, schema: Schema):
    node = start_node(shared_database.dsn)
    async with AsyncExitStack() as stack:
        apps = await start(stack, EACH_KIND, node, schema)
        shared_database.execute(LOSE_THE_SLOT.format(slot=node.environment["SLOT_NAME"]))
        for app in apps:
            while "GapDetected" not in (await app.get("system"))["system"]["message"]:
                pass
        schema.execute("insert into todos values (1, 'milk')")
        for app in apps:
            await app.get("change")
