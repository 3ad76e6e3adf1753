"""From a host's name to its addresses of one family, for databases that are to be reached by IPv4 or IPv6 alone.

libpq has no such option, but takes addresses beside names (`hostaddr`): the name then only serves to check the
certificate.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgcast.model.errors import ConnectionFailed

_WORDS: Final = {int(socket.AF_INET): "IPv4", int(socket.AF_INET6): "IPv6"}


async def only_family(conninfo: str, family: int) -> str:
    """Return a connection string that names addresses of one family, in the resolver's order.

    Args:
        conninfo: What to connect to. Unix sockets and addresses that are given as such stay as they are.
        family: socket.AF_INET or socket.AF_INET6; 0 changes nothing.

    Raises:
        ConnectionFailed: No host has such an address.
    """
    found = conninfo_to_dict(conninfo)
    names = str(found.get("host") or os.environ.get("PGHOST", ""))
    if not family or not names or "hostaddr" in found:
        return conninfo
    hosts = names.split(",")
    ports = str(found.get("port") or os.environ.get("PGPORT", "")).split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    attempts: list[tuple[str, str, str]] = []
    failure: ConnectionFailed | None = None
    for host, port in zip(hosts, ports, strict=True):
        try:
            attempts += [(host, address, port) for address in await _addresses_of(host, family)]
        except ConnectionFailed as error:
            failure = error  # the other hosts are tried all the same
    if failure is not None and not attempts:
        raise failure
    columns = [",".join(column) for column in zip(*attempts, strict=True)]
    return make_conninfo(conninfo, **dict(zip(("host", "hostaddr", "port"), columns, strict=True)))


async def _addresses_of(host: str, family: int) -> list[str]:
    if host.startswith(("/", "@")):
        return [""]  # a unix socket
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, family=family, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConnectionFailed(
            f"the database's host {host} has no {_WORDS[family]} address: {reason}",
            hint="DB_IP_VERSION chooses the addresses that are tried; unset, all are",
        ) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
