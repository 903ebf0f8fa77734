"""Host names with a wildcard as their first label, as Gateway API has them; "" stands for every name.

`*.example.com` covers `a.example.com` and `b.a.example.com`, not `example.com` (see Listener.hostname).
"""

from __future__ import annotations

import ipaddress

__all__ = ["address_of", "covers", "intersection", "is_address", "leads_back", "specificity"]


def covers(pattern: str, name: str) -> bool:
    """Whether every host that `name` stands for is one of those of `pattern`."""
    if not pattern or pattern == name:
        return True
    return pattern.startswith("*.") and name.removeprefix("*").endswith(pattern[1:]) and name != pattern[2:]


def intersection(one: str, other: str) -> str | None:
    """The name for the hosts that both stand for; None where there are none."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def specificity(name: str) -> tuple[bool, int]:
    """Sorts the more specific first: exact names, then the longer wildcards, then every name."""
    return (name.startswith("*") or not name, -len(name))


def is_address(text: str) -> bool:
    """Whether this is an IP address and no name."""
    return address_of(text) is not None


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that this is, one of IPv4 also in the words of IPv6 (::ffff:10.0.0.1); None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def leads_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it stands for whoever asks there, or for something of his own link, such as a cloud's metadata."""
    return address.is_loopback or address.is_link_local or address.is_unspecified
