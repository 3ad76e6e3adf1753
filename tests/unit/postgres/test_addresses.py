from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgcast.model.errors import ConnectionFailed
from pgcast.postgres.addresses import only_family

KNOWN = {
    ("db", socket.AF_INET): ["192.0.2.1", "192.0.2.2", "192.0.2.1"],
    ("db", socket.AF_INET6): ["2001:db8::1"],
    ("standby", socket.AF_INET6): ["2001:db8::2"],
}


@pytest.fixture(autouse=True)
async def _resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that knows the names above."""

    async def getaddrinfo(host: str, port: None, *, family: int, type: int) -> list[tuple[Any, ...]]:  # noqa: A002 - asyncio's name
        found = KNOWN.get((host, socket.AddressFamily(family)))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, type, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    for name in ("PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("conninfo", "family", "expected"),
    [
        ("host=db port=1", socket.AF_INET, {"host": "db,db", "hostaddr": "192.0.2.1,192.0.2.2", "port": "1,1"}),
        ("host=db port=1", socket.AF_INET6, {"host": "db", "hostaddr": "2001:db8::1", "port": "1"}),
        (
            "host=db,standby port=1,2",
            socket.AF_INET6,
            {"host": "db,standby", "hostaddr": "2001:db8::1,2001:db8::2", "port": "1,2"},
        ),
        (
            "host=db,standby port=1",
            socket.AF_INET6,
            {"host": "db,standby", "hostaddr": "2001:db8::1,2001:db8::2", "port": "1,1"},
        ),
    ],
)
async def test_only_the_addresses_of_the_family_are_named(conninfo: str, family: int, expected: dict[str, str]):
    assert conninfo_to_dict(await only_family(conninfo, family)) == expected


@pytest.mark.parametrize("conninfo", ["host=db", "host=nowhere", ""])
async def test_without_a_family_nothing_changes(conninfo: str):
    assert await only_family(conninfo, 0) == conninfo


@pytest.mark.parametrize("conninfo", ["", "dbname=x", "host=db hostaddr=192.0.2.9"])
async def test_what_needs_no_resolving_stays_as_it_is(conninfo: str):
    assert await only_family(conninfo, socket.AF_INET6) == conninfo


async def test_a_unix_socket_has_no_family():
    narrowed = conninfo_to_dict(await only_family("host=/var/run/postgresql port=5433", socket.AF_INET6))
    assert (narrowed["host"], narrowed.get("hostaddr", ""), narrowed["port"]) == ("/var/run/postgresql", "", "5433")


async def test_the_host_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGHOST", "standby")
    assert conninfo_to_dict(await only_family("dbname=x", socket.AF_INET6))["hostaddr"] == "2001:db8::2"


async def test_a_host_without_such_an_address_is_named():
    with pytest.raises(ConnectionFailed) as caught:
        await only_family("host=standby", socket.AF_INET)
    assert caught.value.message.startswith("the database's host standby has no IPv4 address: ")
    assert "DB_IP_VERSION" in caught.value.hint


async def test_a_host_without_such_an_address_does_not_keep_from_the_others():
    narrowed = conninfo_to_dict(await only_family("host=standby,db port=1,2", socket.AF_INET))
    assert (narrowed["host"], narrowed["hostaddr"], narrowed["port"]) == ("db,db", "192.0.2.1,192.0.2.2", "2,2")
