"""From a target to open connections: where the database is, with which settings we talk to it, and how long we wait.

Both kinds of connection, the one that replicates and those that ask, carry the same session settings, so that a value's
text is the same wherever it is read, whatever ALTER DATABASE or ALTER ROLE ... SET say. psycopg does the connecting:
it resolves names without blocking the loop and tries every address.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, AsyncRawCursor, generators, pq
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import error_from_result

from pgcast.model.errors import ConnectionFailed, SettingsError
from pgcast.postgres.addresses import only_family
from pgcast.postgres.refusals import Names, quote_literal, translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from psycopg.abc import Buffer

T = TypeVar("T")

SqlConnection: TypeAlias = AsyncConnection[tuple[Any, ...]]

# Each decides about the text of values (PostgreSQL, chapter "Client Connection Defaults"). Below version 12 only
# extra_float_digits=3 prints floats that can be read back; an empty search_path qualifies regclass and its kin, which
# quote_all_identifiers would quote.
SESSION_OPTIONS: Final = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex"
    " -c extra_float_digits=3 -c client_encoding=UTF8 -c quote_all_identifiers=off -c search_path="
)

# Functions that a policy calls look for tables where their author expects them.
_POLICY_OPTIONS: Final = "-c timezone=UTC -c client_encoding=UTF8"

# A dead peer is noticed within about a minute. A target's own values win.
_DEFAULTS: Final = MappingProxyType(
    {
        "application_name": "pgcast",
        "connect_timeout": "10",
        "keepalives": "1",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
)

_NOT_OURS: Final = frozenset({"host", "port", "dbname", "user", "password", "sslmode", "options", "replication"})

_URL_HINT: Final = (
    "a URL looks like postgresql://user:password@host:5432/dbname;"
    " in the user and the password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23"
)

# How long a cancelled query may take to end properly, before its connection is given up.
_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """Which database, and as whom. What is None is libpq's default (PGHOST and its kin, a service file, ...).

    Attributes:
        host: A name, an address, or the folder of a unix socket (starts with `/`).
        port: A port, as text.
        dbname: The database.
        user: The role.
        password: Its password; never printed.
        sslmode: One of libpq's modes: disable, allow, prefer, require, verify-ca, verify-full.
        options: Server options of the user's own, as `-c name=value`; ours come after them and win.
        family: An address family (socket.AF_INET, socket.AF_INET6): no other address of the host is tried; 0 for any.
        others: All other parameters of libpq by name, such as sslrootcert or target_session_attrs; never printed.
    """

    host: str | None = None
    port: str | None = None
    dbname: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sslmode: str | None = None
    options: str = ""
    family: int = 0
    others: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """`user@host:port/dbname`, for people; without a secret."""
        user, host, port, dbname = self._resolved()
        return f"{user}@{host}:{port}/{dbname}"

    def names(self, *, slot: str = "", publications: tuple[str, ...] = ()) -> Names:
        """Return what error messages and hints may name."""
        user, _, _, dbname = self._resolved()
        return Names(place=str(self), role=user, database=dbname, slot=slot, publications=publications)

    def _resolved(self) -> tuple[str, str, str, str]:
        default = {option.keyword: (option.val or b"").decode() for option in pq.Conninfo.get_defaults()}
        user = self.user or default.get(b"user") or "?"
        host = self.host or self.others.get("hostaddr") or default.get(b"host") or "localhost"
        return user, host, self.port or default.get(b"port") or "5432", self.dbname or default.get(b"dbname") or user


def parse_target(url: str) -> Target:
    """Read a connection URL or `key=value` string of libpq's.

    Source: PostgreSQL, chapter "libpq", section "Connection Strings".

    Raises:
        SettingsError: It cannot be read. The message repeats nothing of it, for it may hold a password.
    """
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.ProgrammingError:
        # Without the cause: libpq's message quotes the text that it could not read.
        raise SettingsError("the database URL is no connection string that libpq can read", hint=_URL_HINT) from None
    if "@" in found.get("host", ""):
        raise SettingsError("the database URL has an @ too many", hint=_URL_HINT)
    return Target(
        host=found.get("host"),
        port=found.get("port"),
        dbname=found.get("dbname"),
        user=found.get("user"),
        password=found.get("password"),
        sslmode=found.get("sslmode"),
        options=found.get("options", ""),
        others={name: value for name, value in found.items() if name not in _NOT_OURS},
    )


def sql_conninfo(target: Target) -> str:
    """Return the connection string for SQL; it holds the password."""
    return make_conninfo("", **_parameters(target))


def replication_conninfo(target: Target) -> str:
    """Return the connection string for logical replication; it holds the password."""
    return make_conninfo("", **_parameters(target), replication="database")


def _parameters(target: Target, options: str = SESSION_OPTIONS) -> dict[str, str]:
    # A later -c wins over an earlier one. The user's come first, in full: hosted services and poolers read their own
    # words there, such as endpoint=.
    theirs = target.options or os.environ.get("PGOPTIONS", "")
    named = {
        "host": target.host,
        "port": target.port,
        "dbname": target.dbname,
        "user": target.user,
        "password": target.password,
        "sslmode": target.sslmode,
    }
    return {
        **_DEFAULTS,
        **target.others,
        **{name: value for name, value in named.items() if value},
        "options": f"{theirs} {options}".strip(),
        "client_encoding": "UTF8",
    }


async def connect_sql(target: Target, *, timeout_s: float) -> SqlConnection:
    """Open a connection for SQL, in autocommit, with nothing prepared, so that a pooler may stand between.

    Its cursors take `$1` parameters.

    Raises:
        ConnectionFailed: No connection.
        NotPrepared: The role may not connect; the hint says how it may.
    """
    return await _connect(target, sql_conninfo(target), AsyncRawCursor, timeout_s)


async def connect_for_policies(target: Target, *, timeout_s: float) -> SqlConnection:
    """Open a connection as `connect_sql` does, with the search_path of the database or the role.

    Raises:
        ConnectionFailed: No connection.
        NotPrepared: The role may not connect; the hint says how it may.
    """
    return await _connect(target, make_conninfo("", **_parameters(target, _POLICY_OPTIONS)), AsyncRawCursor, timeout_s)


async def connect_replication(target: Target, *, timeout_s: float) -> SqlConnection:
    """Open a connection for logical replication, which understands SQL too.

    A walsender refuses the extended query protocol, so its cursors put `%s` parameters into the text themselves.

    Raises:
        ConnectionFailed: No connection.
        NotPrepared: The role may not replicate, or too many do; the hint says what to run.
    """
    return await _connect(target, replication_conninfo(target), AsyncClientCursor, timeout_s)


async def read_unconverted(connection: SqlConnection) -> str:
    """Have Postgres send text in the database's own encoding; return the Python codec that reads it.

    Where Python has none, as for EUC_TW, that is `ascii`: the rest is not readable, but the stream goes on.
    """
    encoding = connection.info.parameter_status("server_encoding") or "SQL_ASCII"
    # Not by psycopg, which from then on refuses to work with an encoding that Python lacks.
    connection.pgconn.send_query(f"SET client_encoding TO {quote_literal(encoding)}".encode())
    result = (await connection.wait(generators.execute(connection.pgconn)))[-1]
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(result)
    try:
        return connection.info.encoding
    except psycopg.NotSupportedError:
        return "ascii"


async def _connect(target: Target, conninfo: str, cursor_factory: Any, timeout_s: float) -> SqlConnection:
    try:
        opening = _open(await only_family(conninfo, target.family), cursor_factory)
        return await within(timeout_s, opening, unwanted=AsyncConnection.close)
    except psycopg.Error as error:
        raise translate(error, target.names(), otherwise=ConnectionFailed) from error
    except UnicodeError as error:
        raise ConnectionFailed(
            f"{target}: that is no host's name: {error}", hint="check the host in DB_HOST or DATABASE_URL"
        ) from error
    except TimeoutError as error:
        raise ConnectionFailed(
            f"{target}: no connection within {timeout_s:g} s",
            hint="is the address right, and does a firewall let us through?",
        ) from error


async def _open(conninfo: str, cursor_factory: Any) -> SqlConnection:
    connection = await AsyncConnection.connect(
        conninfo, autocommit=True, prepare_threshold=None, cursor_factory=cursor_factory
    )
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        # Such a database holds whatever bytes it was given. Asked for UTF-8, Postgres would refuse those that are none,
        # and with them a query's whole answer, or the replication stream for good.
        await connection.execute(b"SET client_encoding TO SQL_ASCII")
        for name in ("text", "name", "varchar", "bpchar"):
            connection.adapters.register_loader(name, _AnyBytesLoader)
    return connection


class _AnyBytesLoader(Loader):
    """Reads text as UTF-8, with U+FFFD for what is none."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


async def within(
    seconds: float, work: Coroutine[Any, Any, T], *, unwanted: Callable[[T], Awaitable[None]] | None = None
) -> T:
    """Await database work and return its result, or give it up for good after a deadline.

    A cancelled psycopg call first asks the server to stop and waits for that; a server that hangs would hold up its
    caller for long. So after a moment's grace the call is cancelled a second time, which closes its connection.

    Args:
        seconds: The deadline.
        work: What to await.
        unwanted: Called with a result that comes all the same: a cancellation can cross with it.

    Raises:
        TimeoutError: The work was not done in time.
    """
    task = asyncio.ensure_future(work)
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.shield(task)
    except BaseException:
        for _ in range(2):
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_GRACE_S)
        # The exception is read, so that the loop does not report it a second time.
        if task.done() and not task.cancelled() and task.exception() is None and unwanted is not None:
            await unwanted(task.result())
        raise
