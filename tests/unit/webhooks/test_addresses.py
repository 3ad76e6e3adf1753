from __future__ import annotations

import asyncio
import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from pgcast.model.errors import SettingsError
from pgcast.webhooks.addresses import AddressRules, GuardedBackend, Refused, parse_rules

PUBLIC = ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")
INNER = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),  # noqa: S104 - refused
    *("224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2002:808:808::1"),
    *("::ffff:0:7f00:1", "::ffff:0:a00:1", "fec0::1", "3fff::1", "5f00::1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str):
    assert AddressRules().allows("host", ip_address(address))


@pytest.mark.parametrize("address", INNER)
def test_all_others_are_refused_in_whatever_form(address: str):
    assert not AddressRules().allows("host", ip_address(address))


def test_hosts_addresses_and_networks_can_be_allowed():
    rules = parse_rules(["Hooks.Internal", "h\u00fcks.internal.", " 10.1.0.0/16", "::1", "[fd00::]", "192.168.1.7/24"])
    assert rules.allows("hooks.internal", ip_address("127.0.0.1"))
    assert rules.allows("HOOKS.internal.", ip_address("127.0.0.1"))
    assert rules.allows("xn--hks-hoa.internal", ip_address("127.0.0.1")), "as it is looked up"
    assert not rules.allows("other.internal", ip_address("127.0.0.1"))
    assert rules.allows("x", ip_address("10.1.255.1"))
    assert rules.allows("x", ip_address("::ffff:10.1.0.1"))
    assert not rules.allows("x", ip_address("10.2.0.1"))
    assert rules.allows("x", ip_address("::1"))
    assert rules.allows("x", ip_address("fd00::"))
    assert rules.allows("x", ip_address("192.168.1.1"))


@pytest.mark.parametrize(
    "item", ["", "a/b", "10.0.0.0/33", "host:80", "a b", "*", "h\u00fcks_1", "xn--", "*.internal", "http://x"]
)
def test_what_is_none_of_them_is_named(item: str):
    with pytest.raises(SettingsError, match="PGCAST_WEBHOOK_ALLOW: neither a host name nor an address or a network"):
        parse_rules([item])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "10.0.0.1"])
def test_an_address_is_refused_without_being_looked_up(host: str):
    with pytest.raises(Refused, match=r"is no public address; allow it with PGCAST_WEBHOOK_ALLOW="):
        AddressRules().check_host(host)


def test_names_and_what_is_allowed_pass():
    AddressRules().check_host("hooks.example.com")
    AddressRules().check_host("8.8.8.8")
    parse_rules(["localhost", "127.0.0.1"]).check_host("localhost")


async def test_the_address_that_is_connected_to_counts_each_time(monkeypatch: pytest.MonkeyPatch):
    answers = [["10.0.0.7"], ["127.0.0.1", "::1"]]

    def look_up(host: str, port: int, **_more: Any) -> list[Any]:
        assert host == "hooks.example.com"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers.pop(0)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ThreadPoolExecutor(1) as lookups:
        backend = GuardedBackend(AddressRules(), lookups)
        with pytest.raises(Refused, match=r"hooks\.example\.com leads to 10\.0\.0\.7, which is no public address"):
            await backend.connect_tcp("hooks.example.com", 443)
        with pytest.raises(Refused, match=r"leads to 127\.0\.0\.1, ::1, which is no public address"):
            await backend.connect_tcp("hooks.example.com", 443)
    assert not answers


async def test_an_address_that_nothing_comes_back_from_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch):
    with contextlib.ExitStack() as stack:
        lookups = stack.enter_context(ThreadPoolExecutor(1))
        silent, answering = (stack.enter_context(socket.socket()) for _ in range(2))
        answering.bind(("127.0.0.1", 0))
        answering.listen()
        port = answering.getsockname()[1]
        silent.bind(("127.0.0.2", port))
        silent.listen(0)
        for _ in range(4):  # its queue is full now, and the system answers nobody any more
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", port))

        def look_up(*_arguments: Any, **_more: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{one}", port)) for one in (2, 1)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        backend = GuardedBackend(parse_rules(["127.0.0.0/8"]), lookups)
        async with asyncio.timeout(0.9):
            stream = await backend.connect_tcp("hooks.example.com", port, timeout=1.0)
        await stream.aclose()


async def test_a_name_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch):
    def look_up(*_arguments: Any, **_more: Any) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ThreadPoolExecutor(1) as lookups:
        with pytest.raises(httpcore.ConnectError, match="the name nowhere cannot be looked up"):
            await GuardedBackend(AddressRules(), lookups).connect_tcp("nowhere", 443)
        with pytest.raises(Refused, match="not a network address"):
            await GuardedBackend(AddressRules(), lookups).connect_unix_socket("/run/socket")
