"""The two files that configure a cluster of ours: settings, and who may connect how."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgcast.model.errors import PgcastError

if TYPE_CHECKING:
    from collections.abc import Mapping

Setting = str | int | float | bool

HOST = "127.0.0.1"

_SETTING_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?", re.ASCII)

DEFAULTS: dict[str, Setting] = {
    "listen_addresses": HOST,
    "wal_level": "logical",
    "max_wal_senders": 20,
    "max_replication_slots": 20,
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # In the data directory, and so gone with it; a container's /dev/shm is small, and files there would outlive a kill.
    "dynamic_shared_memory_type": "mmap",
    "unix_socket_permissions": "0700",
}
# Safe as long as the machine itself does not fail: a killed Postgres leaves its writes with the kernel.
NOT_DURABLE: dict[str, Setting] = {"fsync": False, "full_page_writes": False}


def settings_file(settings: Mapping[str, Setting]) -> str:
    """Write settings in the syntax of postgresql.conf (PostgreSQL, chapter "Setting Parameters").

    Args:
        settings: Names and values; True and False become on and off.

    Raises:
        PgcastError: A name is no setting's name, or a value holds a line break or a zero.
    """
    lines = []
    for name, setting in settings.items():
        if not _SETTING_NAME.fullmatch(name):
            raise PgcastError(f"not the name of a setting: {name!r}", hint="lower case, as in max_wal_senders")
        value = ("on" if setting else "off") if isinstance(setting, bool) else str(setting)
        if any(character in value for character in "\n\r\0"):
            raise PgcastError(f"the value of {name} holds a line break or a zero")
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{escaped}'\n")
    return "".join(lines)


def hba_file(method: str) -> str:
    """Write pg_hba.conf: everybody through the socket, whoever passes `method` through loopback."""
    rows = [("local", ""), ("host", f"{HOST}/32")]
    return "".join(
        f"{kind} {database} all {address} {'trust' if kind == 'local' else method}\n"
        for kind, address in rows
        for database in ("all", "replication")
    )
