"""The network between the server and Postgres, which can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pgcast.devdb.cluster import Cluster


class Line:
    """A connection to Postgres that can be cut, and counts what comes from there. Use with `async with`.

    Attributes:
        size_bytes: What Postgres has sent.
    """

    def __init__(self, port: int) -> None:
        self.size_bytes = 0
        self._to_port = port
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """End all connections without a word, as a lost network does."""
        for writer in self._writers:
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_postgres, to_postgres = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            # Postgres is away: so is the line to it.
            writer.transport.abort()
            return
        self._writers |= {writer, to_postgres}
        for task in (
            asyncio.create_task(self._pass_on(reader, to_postgres, lambda _: None)),
            asyncio.create_task(self._pass_on(from_postgres, writer, self._count)),
        ):
            self._tasks.add(task)

    def _count(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Callable[[int], None]
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(256 * 1024):
                count(len(chunk))
                writer.write(chunk)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


@contextlib.asynccontextmanager
async def line_to(cluster: Cluster) -> AsyncIterator[tuple[Line, str]]:
    """A line to a cluster, and the connection string that leads through it."""
    async with Line(cluster.port) as line:
        words = conninfo_to_dict(cluster.tcp_dsn())
        yield line, make_conninfo("", **{**words, "port": line.port})
