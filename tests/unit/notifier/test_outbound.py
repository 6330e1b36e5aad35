"""What people's destinations may be: public addresses, and chat services from one list."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from event_contracts.values import CHAT_SCHEMES
from notifier.adapters.apprise_chats import PLUGINS
from notifier.domain.outbound import OutboundRule


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not OutboundRule().allows(ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_public_is_allowed(address: str) -> None:
    assert OutboundRule().allows(ip_address(address))


def test_the_operator_names_exceptions() -> None:
    rule = OutboundRule((ip_network("192.168.1.0/24"), ip_network("fd00::/64")))
    assert rule.allows(ip_address("192.168.1.7"))
    assert rule.allows(ip_address("::ffff:192.168.1.7"))
    assert rule.allows(ip_address("fd00::7"))
    assert not rule.allows(ip_address("192.168.2.7"))
    assert not rule.allows(ip_address("127.0.0.1"))


def test_every_chat_service_of_the_list_has_its_plugin() -> None:
    assert PLUGINS.keys() == CHAT_SCHEMES
    for scheme, plugin in PLUGINS.items():
        spoken = {"" if one is None else one for one in (plugin.protocol, plugin.secure_protocol)}
        assert scheme in {name for one in spoken for name in ([one] if isinstance(one, str) else one)}
