"""The Python baseline: the `websockets` library, relaying what one client says to the others.

A text is a JSON array as in the protocol: an event `broadcast` is relayed to everybody else who joined, anything else a
join that is answered. One message is made for all, and `broadcast` of the library writes it to each without waiting.

Usage: websockets_server.py PORT
"""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

joined: set[ServerConnection] = set()


async def talk(connection: ServerConnection) -> None:
    try:
        async for text in connection:
            _, _, topic, event, payload = orjson.loads(text)
            if event == "broadcast":
                message = orjson.dumps([None, None, topic, event, payload]).decode()
                broadcast(joined - {connection}, message)
            else:
                joined.add(connection)
                await connection.send('["1","1","realtime:bench","phx_reply",{}]')
    except ConnectionClosed:
        pass
    finally:
        joined.discard(connection)


async def main() -> None:
    async with serve(talk, "127.0.0.1", int(sys.argv[1]), compression=None, ping_interval=None, backlog=4096):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
