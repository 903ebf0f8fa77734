"""Hand-made histories."""

from __future__ import annotations

from conformance.checks.mtls_judges import Attempt


def strange(port: int, *, sent: int = 20, answered: int, packets: int = 60, hits: int | None = None) -> Attempt:
    """Plaintext from outside of the mesh."""
    seen = sent if hits is None else hits
    ends = {"reset": sent - answered} if answered < sent else {}
    return Attempt(port, False, sent, answered, answered, ends, packets, 0, seen)


def meshed(
    port: int, *, sent: int = 20, answered: int = 20, hits: int = 0, tls: int = 80, packets: int = 90
) -> Attempt:
    """Requests of a meshed client."""
    ends = {"status 503": sent - answered} if answered < sent else {}
    return Attempt(port, True, sent, answered, answered, ends, packets, tls, hits)
