import asyncio
import os

from realtime import AsyncRealtimeClient

URL = os.environ.get("PGCAST_URL", "ws://localhost:4000/socket")
KEY = os.environ.get("PGCAST_KEY", "none")


async def main() -> None:
    client = AsyncRealtimeClient(URL, KEY)
    room = client.channel("room:1", {"config": {"broadcast": {"self": True, "ack": True}}})
    room.on_broadcast("cursor", lambda message: print("cursor", message["payload"]))
    await room.subscribe(lambda status, error: print(status.value, error or ""))
    await room.send_broadcast("cursor", {"x": 3, "y": 4})
    await asyncio.Event().wait()


asyncio.run(main())
