"""Which addresses are public, in whatever spelling, and which are this machine."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async._transport.addresses import is_loopback, is_public, why_not_loopback, why_not_public


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "2001:200::1",
        "3ffe:ffff::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)
    assert why_not_public(address) is None


INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert why_not_public(address) == "is no public address"


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "134744072",
        "017700000001",
        "0x7f000001",
        "0X7F000001",
        "0x7f.1",
        "0x",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "127.0.0.1.",
        "8.8.8.8.",
        "256.256.256.256",
        "1.2.3.4.5",
        "example.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.b.localhost",
    ],
)
def test_odd_spellings_of_an_address_are_not_taken_for_a_name(host: str) -> None:
    assert why_not_public(host)
    assert not is_public(host)


@pytest.mark.parametrize("host", ["2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1"])
def test_those_spellings_do_lead_to_this_machine(host: str) -> None:
    """Otherwise nobody would have to care."""
    assert socket.gethostbyname(host) == "127.0.0.1"


@pytest.mark.parametrize(
    "host",
    ["example.com", "localhost.example", "notlocalhost", "a1", "1.example", "0x7f.example", "xn--4gbrim.test", ""],
)
def test_of_a_name_only_its_address_can_tell(host: str) -> None:
    assert why_not_public(host) is None
    assert why_not_loopback(host) is None
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "0:0::1", "localhost", "LocalHost", "a.localhost"])
def test_what_is_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert why_not_loopback(host) is None
    assert why_not_public(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "2130706433", "127.1", "::", "::ffff:127.0.0.1", "::1%lo"])
def test_what_is_not_this_machine_for_certain(host: str) -> None:
    assert not is_loopback(host)
    assert why_not_loopback(host) == "is not this machine"


@given(address=st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    inner = (address.ipv4_mapped or address.sixtofour) if isinstance(address, ipaddress.IPv6Address) else None
    address = inner or address
    if is_public(str(address)):
        flags = (address.is_private, address.is_multicast, address.is_link_local, address.is_loopback)
        assert not any(flags)


@given(host=st.text())
def test_any_text_is_public_or_not(host: str) -> None:
    assert not (is_public(host) and is_loopback(host))
    assert not (is_public(host) and why_not_public(host))
