import asyncio
import os
import uuid

from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent

URL = os.environ.get("PGCAST_URL", "ws://localhost:4000/socket")
KEY = os.environ.get("PGCAST_KEY", "none")


async def main() -> None:
    client = AsyncRealtimeClient(URL, KEY, params={"resume": str(uuid.uuid4())})
    channel = client.channel("todos")
    channel.on_postgres_changes(RealtimePostgresChangesListenEvent.All, print, schema="public", table="todos")
    channel.on_system(print)  # also that a gap was detected
    await channel.subscribe(lambda status, error: print(status.value, error or ""))
    await asyncio.Event().wait()


asyncio.run(main())
