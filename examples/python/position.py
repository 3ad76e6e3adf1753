import asyncio
import contextlib
import json
import os

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL = os.environ.get("PGCAST_URL", "ws://localhost:4000/socket")
KEY = os.environ.get("PGCAST_KEY", "none")


async def main() -> None:
    binding = {"event": "*", "schema": "public", "table": "todos"}
    async for socket in connect(f"{URL}/websocket?apikey={KEY}", max_size=None):  # connects again after a break
        join = {"config": {"postgres_changes": [binding]}}
        await socket.send(json.dumps({"topic": "realtime:todos", "event": "phx_join", "payload": join, "ref": "1"}))
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                message = json.loads(text)
                if message["event"] == "postgres_changes":
                    change = message["payload"]["data"]
                    binding["since"] = change["position"]  # asked for when it joins again
                    print(change["position"], change["type"], change.get("old_record"), change.get("record"))
                elif message["event"] == "system":
                    print(message["payload"]["message"])  # also that a gap was detected


asyncio.run(main())
