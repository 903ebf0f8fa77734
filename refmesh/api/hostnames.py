"""Host names with a wildcard as their first label, as Gateway API has them; "" stands for every name.

`*.example.com` covers `a.example.com` and `b.a.example.com`, not `example.com` (see Listener.hostname).
"""

from __future__ import annotations

import ipaddress

__all__ = ["covers", "intersection", "is_address", "specificity"]


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
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
