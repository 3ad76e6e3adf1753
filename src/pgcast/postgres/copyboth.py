"""A connection in CopyBoth mode: from libpq's socket to batches of messages, and single messages back.

The event loop watches the socket; whenever it is readable, everything that has arrived is taken at once. The socket
stays watched between two waits, and is let go only when data comes while nobody waits, so that pausing costs nothing.

Source: PostgreSQL, chapter "libpq", sections "Functions Associated with the COPY Command" and "Asynchronous Command
Processing".
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

# Over TCP the walsender would wake us for every row, and both sides would spend their time on that; so in a burst we
# read in pauses. While we pause, the walsender's messages pile up in the kernel and travel together. A burst is a run
# of reads with hardly a wait between them, and lasts while the pauses are worth it: a lone transaction, three messages,
# is never held up. Measured on a backlog of 300,000 rows of 5 columns, loopback, 2 cores, three runs each: 400-480 k
# rows/s in place of 175-185 k, with a twelfth of our own time. Shorter pauses gain less, longer ones nothing; a large
# SO_RCVBUF in place of the kernel's own tuning halves it; on a unix socket (430 k) a pause costs.
_PAUSE_S: Final = 0.004
_BURST_READS: Final = 16
_BURST_MESSAGES: Final = 64

# A wait longer than this ends a run of reads.
_IDLE_S: Final = 0.001

_END_TIMEOUT_S: Final = 2.0

# Results after the copy: the end of either direction, an error, the command's own; more would be a surprise.
_RESULTS_LIMIT: Final = 8


class CopyBoth:
    """Reads and writes CopyData messages on a connection that has answered with CopyBoth.

    Belongs to the running loop. The connection is not closed here.

    Args:
        pgconn: The connection, in non-blocking mode.
        read_limit_bytes: About how much one `read` returns at most; one message may be larger.
    """

    def __init__(self, pgconn: PGconn, *, read_limit_bytes: int) -> None:
        self._pgconn = pgconn
        # Our own: libpq closes its descriptor as soon as it finds the connection broken, and the number may belong to a
        # client a moment later, while the loop still watches it for us.
        self._fd = os.dup(pgconn.socket)
        self._loop = asyncio.get_running_loop()
        self._read_limit_bytes = read_limit_bytes
        self._pause_s = 0.0 if _is_unix_socket(self._fd) else _PAUSE_S
        # OpenSSL may hold one decrypted record, 16 kB, that the socket no longer tells of. libpq takes at least 8 kB at
        # a time, so two reads that bring nothing are proof.
        self._dry_reads = 2 if pgconn.ssl_in_use else 1
        self._reads_in_a_row = 0
        self._has_left = False
        self._is_watched = False
        self._is_readable = False
        self._is_flushing = False
        self._is_at_end = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: psycopg.Error | None = None

    async def read(self) -> list[bytes]:
        """Wait for messages and return those that are there, at least one, in order.

        May be cancelled without losing anything: what was taken from libpq is returned without waiting in between.

        Raises:
            psycopg.Error: The stream ended or the connection broke; every later call raises it again.
        """
        is_burst = self._reads_in_a_row >= _BURST_READS
        # Without a burst still a turn of the loop, so that others run even if there is always something to read; and no
        # pause where the last read left something, which is here already.
        await asyncio.sleep(self._pause_s if is_burst and not self._has_left else 0)
        while True:
            messages = self._drain()
            if messages:
                is_over = is_burst and len(messages) < _BURST_MESSAGES and not self._has_left
                self._reads_in_a_row = 0 if is_over else self._reads_in_a_row + 1
                return messages
            if self._is_at_end and self._error is None:
                self._error = await self._find_end()
            if self._error is not None:
                raise self._error
            started = self._loop.time()
            await self._wait_readable()
            if self._loop.time() - started > _IDLE_S:
                self._reads_in_a_row = 0

    def send(self, message: bytes) -> None:
        """Send one message without waiting; dropped when the stream has ended or the way out is blocked."""
        if self._is_at_end or self._error is not None:
            return
        try:
            self._pgconn.put_copy_data(message)
            self._flush()
        except psycopg.OperationalError:
            # Whoever reads will find the end too, and say why.
            return

    async def finish(self) -> None:
        """End our side, and return when Postgres has ended its own: it has read all that was sent. What comes is lost.

        Raises:
            psycopg.Error: The connection broke.
        """
        if self._error is not None or self._is_at_end:
            return
        self._pgconn.put_copy_end()
        self._flush()
        while not self._is_at_end:
            self._drain()
            if not self._is_at_end and not self._has_left:
                await self._wait_readable()
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """End our side and let go of the socket; twice is safe. A `read` that waits raises."""
        if self._error is None and not self._is_at_end:
            try:
                self._pgconn.put_copy_end()
                self._pgconn.flush()
            except psycopg.OperationalError:
                self._is_at_end = True
        if self._error is None:
            self._error = psycopg.OperationalError("the replication connection was closed")
        self._unwatch()
        if self._is_flushing:
            self._loop.remove_writer(self._fd)
            self._is_flushing = False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _drain(self) -> list[bytes]:
        # fast path: per change
        messages: list[bytes] = []
        if self._error is not None or self._is_at_end:
            return messages
        get_copy_data = self._pgconn.get_copy_data
        left = self._read_limit_bytes
        dry_reads = -1  # libpq may hold messages that it read before
        self._is_readable = False
        self._has_left = False
        try:
            while dry_reads < self._dry_reads:
                before = len(messages)
                size = 1
                while left > 0:
                    size, data = get_copy_data(1)
                    if size <= 0:
                        break
                    messages.append(bytes(data))
                    left -= size
                if size < 0:
                    self._is_at_end = True
                    break
                if left <= 0:
                    self._has_left = True
                    break
                dry_reads = dry_reads + 1 if len(messages) == before else 0
                if dry_reads < self._dry_reads:
                    self._pgconn.consume_input()
        except psycopg.OperationalError as error:
            self._error = error
        return messages

    async def _find_end(self) -> psycopg.Error:
        """Return why the stream ended: what the server said after it, if it says anything soon."""
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                for _ in range(_RESULTS_LIMIT):
                    while self._pgconn.is_busy():
                        await self._wait_readable()
                        self._is_readable = False
                        self._pgconn.consume_input()
                    result = self._pgconn.get_result()
                    if result is None or result.status == pq.ExecStatus.COPY_BOTH:
                        break
                    if result.status == pq.ExecStatus.FATAL_ERROR:
                        return error_from_result(result)
                    if result.status == pq.ExecStatus.COPY_IN:
                        # Postgres is done sending, and waits for us to be done too.
                        self._pgconn.put_copy_end()
                        self._flush()
        except TimeoutError:
            pass
        except psycopg.OperationalError as error:
            return error
        return psycopg.OperationalError("Postgres ended the replication stream, as it does when it is stopped")

    async def _wait_readable(self) -> None:
        if self._is_readable:
            return
        if self._fd < 0:
            raise psycopg.OperationalError("the replication connection was closed")
        if not self._is_watched:
            self._loop.add_reader(self._fd, self._on_readable)
            self._is_watched = True
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _on_readable(self) -> None:
        if self._waiter is None:
            # Nobody will take it soon, and the loop would call again at once.
            self._is_readable = True
            self._unwatch()
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._loop.remove_reader(self._fd)
            self._is_watched = False

    def _flush(self) -> None:
        if self._pgconn.flush() and not self._is_flushing:
            self._loop.add_writer(self._fd, self._on_writable)
            self._is_flushing = True

    def _on_writable(self) -> None:
        try:
            is_blocked = bool(self._pgconn.flush())
        except psycopg.OperationalError:
            is_blocked = False
        if not is_blocked:
            self._loop.remove_writer(self._fd)
            self._is_flushing = False


def _is_unix_socket(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as copy:
        return copy.family == socket.AF_UNIX
