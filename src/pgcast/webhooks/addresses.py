"""Which addresses may be posted to. A webhook is a way into the network, so only public ones are, unless allowed.

Judged is the address that is connected to, after every look-up of the name: a name that points somewhere else by the
time of the connection does not get through.
"""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

Address = IPv4Address | IPv6Address

# What may be a host's name, also of other scripts.
_HOST: Final = re.compile(r"[\w-]+(\.[\w-]+)*\.?")

# IPv6 addresses that stand for the IPv4 address in their last four bytes: NAT64 (RFC 6052), translation without state
# (RFC 2765), and the oldest form.
_EMBEDDING: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0:0/96"), IPv6Network("::/96"))
# The network's own NAT64 (RFC 8215); what is no more, but may be in use inside: 6to4 (RFC 7526), site-local addresses
# (RFC 3879); what never is on the internet (RFC 9637, 9602). Versions of Python judge them differently, if at all.
_REFUSED: Final = tuple(map(IPv6Network, ("64:ff9b:1::/48", "2002::/16", "fec0::/10", "3fff::/20", "5f00::/16")))


class Refused(httpcore.ConnectError):
    """An endpoint whose addresses may not be posted to."""


class Unknown(httpcore.ConnectError):
    """A name that cannot be looked up."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What is allowed beside public addresses.

    Attributes:
        hosts: Names whose addresses are allowed, whatever they are; lower case.
        networks: Allowed addresses.
    """

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def allows(self, host: str, address: Address) -> bool:
        """Say whether an address that a host name has led to may be connected to."""
        if host.lower().rstrip(".") in self.hosts:
            return True
        inner = _inner(address)
        if any(address in network or inner in network for network in self.networks):
            return True
        if any(address in network for network in _REFUSED):
            return False
        return all(one.is_global and not one.is_multicast for one in (address, inner))

    def check_host(self, host: str) -> None:
        """Refuse what can be refused without looking a name up: an address, and `localhost`.

        Raises:
            Refused: It may not be posted to; the message says what would allow it.
        """
        address = _address_of(host) or (IPv4Address("127.0.0.1") if host.lower() == "localhost" else None)
        if address is not None and not self.allows(host, address):
            raise _refusal(host, [address])


def parse_rules(items: Iterable[str]) -> AddressRules:
    """Read host names, addresses and networks (`10.0.0.0/8`).

    Raises:
        SettingsError: One is none of them.
    """
    hosts: set[str] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for item in items:
        text = item.strip().lower()
        try:
            networks.append(ip_network(text.removeprefix("[").removesuffix("]"), strict=False))
        except ValueError:
            host = _ascii(text) if _HOST.fullmatch(text) else ""
            if not host:
                raise SettingsError(
                    f"PGCAST_WEBHOOK_ALLOW: neither a host name nor an address or a network: {item[:80]!r}",
                    hint="for example hooks.internal,10.1.0.0/16; all addresses are 0.0.0.0/0,::/0",
                ) from None
            hosts.add(host.rstrip("."))
    return AddressRules(frozenset(hosts), tuple(networks))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to allowed addresses only.

    Args:
        rules: Which are.
        lookups: The threads in which names are looked up: a resolver that hangs concerns nobody else.
    """

    def __init__(self, rules: AddressRules, lookups: Executor) -> None:
        self._rules = rules
        self._lookups = lookups
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Look the host up, and connect to the first of its allowed addresses that answers.

        Raises:
            Refused: None of them is allowed.
            Unknown: There is none.
            httpcore.ConnectError: None of them answers.
        """
        addresses = await self._look_up(host, port)
        allowed = [address for address in addresses if self._rules.allows(host, address)]
        if not allowed:
            raise _refusal(host, addresses)
        # An address that nothing comes back from must leave time for the next one.
        share = None if timeout is None else timeout / len(allowed)
        for address in allowed[:-1]:
            try:
                return await self._inner.connect_tcp(str(address), port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(allowed[-1]), port, share, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse.

        Raises:
            Refused: Always.
        """
        del timeout, socket_options
        raise Refused(f"{path}: not a network address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _look_up(self, host: str, port: int) -> list[Address]:
        literal = _address_of(host)
        if literal is not None:
            return [literal]
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._lookups, look_up)
        except (OSError, UnicodeError):
            raise Unknown(f"the name {host} cannot be looked up") from None
        # A link-local address may carry the name of an interface.
        return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def ascii_host(url: httpx.URL) -> str:
    """Return a URL's host as it is looked up.

    Raises:
        UnicodeError: It begins with xn-- and stands for nothing.
    """
    return url.raw_host.decode("ascii") if url.host else ""


def _ascii(host: str) -> str:
    """Return a name as it is looked up, xn--... for other scripts; empty if it has no such form."""
    try:
        return ascii_host(httpx.URL(scheme="http", host=host))
    except (httpx.InvalidURL, UnicodeError):
        return ""


def _address_of(host: str) -> Address | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _EMBEDDING):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _refusal(host: str, addresses: Sequence[Address]) -> Refused:
    shown = ", ".join(map(str, addresses[:4]))
    leads = f"{host} leads to {shown}, which" if [host] != [str(one) for one in addresses] else f"{host}"
    return Refused(f"{leads} is no public address; allow it with PGCAST_WEBHOOK_ALLOW={host}")
