"""Which addresses on the network people's own destinations may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Public by number, but answered by the cloud's own hypervisor (Azure).
_METADATA = ip_network("168.63.129.16/32")
_NAT64 = IPv6Network("64:ff9b::/96")
_SITE_LOCAL = ip_network("fec0::/10")


@dataclass(frozen=True, slots=True)
class OutboundRule:
    """Public addresses only, but for what the operator names in `exceptions`.

    Private, loopback, link-local (cloud metadata lives there), shared, multicast and reserved ranges are refused
    (RFC 6890), also when an IPv6 address only wraps an IPv4 one.
    """

    exceptions: Sequence[Network] = ()

    def allows(self, address: Address) -> bool:
        inner = _unwrapped(address)
        if any(inner in network for network in self.exceptions):
            return True
        if inner.is_multicast or inner.is_reserved or inner in _METADATA or inner in _SITE_LOCAL:
            return False
        return inner.is_global


def _unwrapped(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 one leads to (RFC 4291 2.5.5.2, RFC 3056, RFC 6052), else the address."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
