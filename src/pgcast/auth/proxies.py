"""From a connection's address and its X-Forwarded headers to the address and scheme of the client.

Anybody can write these headers. They are believed only as far as trusted proxies wrote them: each proxy adds on the
right the address it was called from, so the list is read from the right, and the first address that is no trusted proxy
is the client's.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

MAX_HOPS: Final = 32
"""How far a list is read: no real chain of proxies is that long."""

Address: TypeAlias = "IPv4Address | IPv6Address"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who calls, and how.

    Attributes:
        address: The client's address.
        scheme: `https` or `http`: how the nearest proxy was reached; None where no trusted one says it.
    """

    address: str
    scheme: str | None = None


class TrustedProxies:
    """The proxies whose headers are believed.

    Args:
        networks: Addresses or networks.

    Raises:
        ValueError: One is neither.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]

    def origin_of(self, peer: str, forwarded_for: Sequence[str], forwarded_proto: Sequence[str]) -> Origin:
        """Find out who calls.

        Args:
            peer: The address at the other end of the connection.
            forwarded_for: All headers X-Forwarded-For, in order.
            forwarded_proto: All headers X-Forwarded-Proto, in order.
        """
        if not self._networks and ":" not in peer:
            return Origin(peer)  # nearly every connection; nothing to parse
        address = _parse(peer)
        if address is None or not self._trusts(address):
            return Origin(peer if address is None else str(address))
        for text in _last_parts(forwarded_for):
            hop = _parse(text)
            if hop is None:
                break  # what stands left of it was written by whoever wrote this
            address = hop
            if not self._trusts(hop):
                break
        scheme = next(iter(_last_parts(forwarded_proto)), "").lower()
        return Origin(str(address), scheme if scheme in {"http", "https"} else None)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


def _last_parts(headers: Sequence[str]) -> list[str]:
    """Return the elements of a list header, the last one first."""
    parts = [part.strip() for header in headers[-MAX_HOPS:] for part in header.rsplit(",", MAX_HOPS)[-MAX_HOPS:]]
    return parts[: -MAX_HOPS - 1 : -1]


def _parse(text: str) -> Address | None:
    """Read an address; one with a port is read without it, an IPv4 address in IPv6's clothes as what it is."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
