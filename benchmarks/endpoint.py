"""An endpoint of a webhook that fails 30 % of its requests and does not answer 5 %: `python endpoint.py PORT`."""

from __future__ import annotations

import asyncio
import random
import sys

_FAILING = 0.30
_HANGING = 0.05


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection, one after the other."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            chance = random.random()  # noqa: S311 - nothing secret
            if chance < _HANGING:
                await reader.read()  # until the sender gives up
                break
            status = b"500 Failed" if chance < _HANGING + _FAILING else b"204 No Content"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(port: int) -> None:
    """Serve until ended."""
    async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
