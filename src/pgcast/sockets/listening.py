"""The port, and how many sockets this process may have open."""

from __future__ import annotations

import contextlib
import resource
import socket
from typing import Final

from pgcast.model.errors import SettingsError

BACKLOG: Final = 4096


def listen(address: str, port: int) -> socket.socket:
    """Bind a port before anything else is started.

    Raises:
        SettingsError: The port is taken, or the address is none of this machine.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            # All addresses are IPv4's as well, whatever the system's default is.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address, port))
        sock.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        sock.close()
        reason = error.strerror if isinstance(error, OSError) else "not an address"
        raise SettingsError(
            f"cannot listen on {address} port {port}: {reason}",
            hint="set PORT to a free port, 0 for any, or PGCAST_BIND",
        ) from None
    sock.setblocking(False)
    return sock


def raise_file_limit() -> None:
    """Allow as many open sockets as the system lets this process have: the soft limit is often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
