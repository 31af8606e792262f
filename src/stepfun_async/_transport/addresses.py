"""IP addresses: which are public, and which are of this machine.

Links to images come from a server, and their author may want them to lead to where only this
machine can go: a router, a database, a cloud's store of credentials. So only addresses that the whole
internet reaches count as public, and everything that is not known to be one does not.

Source: IANA's registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890), of 2025.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

AddressFilter: TypeAlias = Callable[[str], str | None]
"""Returns why a connection to a host is not allowed, in words; `None` if it is.

Asked twice: of the host as it is written, and of the address that was reached in its name.
"""


def is_public(address: str) -> bool:
    """Whether `address`, an IPv4 or IPv6 address in its usual notation, is reachable from the whole internet."""
    parsed = _parsed(address)
    if parsed is None:
        return False
    return _is_public_v4(parsed) if isinstance(parsed, IPv4Address) else _is_public_v6(parsed)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: an address in 127.0.0.0/8, ::1, `localhost` or a name below it."""
    address = _parsed(host)
    return _is_local_name(host) if address is None else any(address in network for network in _LOOPBACK)


def why_not_public(host: str) -> str | None:
    """The filter that allows public addresses, and names, which are checked by their addresses."""
    if _is_local_name(host) or (_is_address(host) and not is_public(host)):
        return "is no public address"
    return None


def why_not_loopback(host: str) -> str | None:
    """The filter that allows only this machine, and names, which are checked by their addresses."""
    return "is not this machine" if _is_address(host) and not is_loopback(host) else None


_INSIDE_V4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and the clouds' stores of credentials
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4, gone
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

_OUTSIDE_V6 = IPv6Network("2000::/3")
"""The only part of IPv6 that is assigned for the internet."""

_INSIDE_V6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)

_CARRIED = (
    (IPv6Network("::ffff:0:0/96"), 0),  # an IPv4 address written as an IPv6 one
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
"""IPv6 networks whose addresses contain an IPv4 address, and the number of bits after it."""

_LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return `text` as an address; `None` if it is not one, or has a zone (`fe80::1%en0`)."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _is_public_v4(address: IPv4Address) -> bool:
    return not any(address in network for network in _INSIDE_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    for network, shift in _CARRIED:
        if address in network:
            return _is_public_v4(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
    return address in _OUTSIDE_V6 and not any(address in network for network in _INSIDE_V6)


def _is_local_name(host: str) -> bool:
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")


def _is_address(host: str) -> bool:
    """Whether `host` is an address, in any notation that a resolver accepts, and not a name.

    A name never ends in a number, so this finds `2130706433` and `0x7f.1` too, which are 127.0.0.1 to many.
    """
    return ":" in host or _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]) is not None


_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE | re.ASCII)
