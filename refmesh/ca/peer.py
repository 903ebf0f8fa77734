"""Who is at the other end of a connection: what the TLS handshake verified, never what the peer says."""

from __future__ import annotations

from typing import Any

__all__ = ["peer_identity"]


def peer_identity(context: Any) -> str | None:
    """The one SPIFFE identity of the client's certificate."""
    found: list[bytes] = list(context.auth_context().get("peer_spiffe_id") or [])
    return found[0].decode() if len(found) == 1 else None
