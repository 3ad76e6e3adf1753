import asyncio
import os

from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent

URL = os.environ.get("PGCAST_URL", "ws://localhost:4000/socket")
KEY = os.environ.get("PGCAST_KEY", "none")


async def main() -> None:
    channel = AsyncRealtimeClient(URL, KEY).channel("todos")
    channel.on_postgres_changes(RealtimePostgresChangesListenEvent.All, print, schema="public", table="todos")
    await channel.subscribe(lambda status, error: print(status.value, error or ""))
    await asyncio.Event().wait()


asyncio.run(main())
