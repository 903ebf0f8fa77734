"""Ports that no user may have."""

from __future__ import annotations

__all__ = ["RESERVED_PORTS"]

RESERVED_PORTS = range(15000, 15091)
"""Ports of the proxy and its agent; never an application's."""
