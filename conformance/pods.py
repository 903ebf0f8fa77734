"""Pods as checks see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Pod", "in_url"]


@dataclass(frozen=True)
class Pod:
    """A running pod, as far as checks care."""

    name: str
    namespace: str
    ip: str
    object: Mapping[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Pod:
        """From its object."""
        meta = item["metadata"]
        return cls(meta["name"], meta["namespace"], item.get("status", {}).get("podIP", ""), item)

    @property
    def host(self) -> str:
        """Its address as URLs have it."""
        return in_url(self.ip)


def in_url(address: str) -> str:
    """An address as the host of a URL: an IPv6 one in brackets (RFC 3986, 3.2.2)."""
    return f"[{address}]" if ":" in address else address
