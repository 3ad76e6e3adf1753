"""Prints every change of the table todos, and of one user's todos that are done."""

import asyncio
import os
import uuid

from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent

URL = os.environ.get("PGCAST_URL", "ws://localhost:4000/socket")
KEY = os.environ.get("PGCAST_KEY", "none")
ANY = RealtimePostgresChangesListenEvent.All


def print_change(message: dict) -> None:
    change = message["data"]
    print(change["type"], change.get("old_record"), "->", change.get("record"), flush=True)


def print_done(message: dict) -> None:
    print("done by user 2:", message["data"]["record"]["title"], flush=True)


async def main() -> None:
    # The id with which it gets what it missed when the connection breaks.
    client = AsyncRealtimeClient(URL, KEY, params={"resume": str(uuid.uuid4())})
    channel = client.channel("todos")
    channel.on_postgres_changes(ANY, print_change, schema="public", table="todos")
    channel.on_postgres_changes(ANY, print_done, schema="public", table="todos", filter="user_id=eq.2,done=eq.true")
    await channel.subscribe(lambda status, error: print(status.value, error or "", flush=True))
    await asyncio.Event().wait()


asyncio.run(main())
