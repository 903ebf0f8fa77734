"""What a replica knows of certificates, as data: for its debug page, and from there for `refmesh ca status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

if TYPE_CHECKING:
    from refmesh.ca.authority import Authority
    from refmesh.ca.rotation import Rotator

__all__ = ["page"]


def page(authority: Authority, rotator: Rotator | None) -> dict[str, Any]:
    """Roots, issuer, phase and what was signed. Public facts only: no key, no token."""
    trust = authority.trust
    return {
        "phase": trust.phase.value,
        "kind": trust.kind,
        "request": trust.request,
        "generation": trust.generation,
        "since": trust.since,
        "roots": [_facts(one) for one in x509.load_pem_x509_certificates(trust.bundle)],
        "issuer": _facts(trust.keyring.issuer),
        "default_seconds": trust.keyring.policy.default.total_seconds(),
        "maximum_seconds": trust.keyring.policy.maximum.total_seconds(),
        "waiting": rotator.waiting if rotator else [],
        "problem": rotator.problem if rotator else "",
        "workloads": authority.ledger.rows(),
        "in_use": authority.ledger.in_use(),
    }


def _facts(certificate: x509.Certificate) -> dict[str, Any]:
    return {
        "name": certificate.subject.rfc4514_string(),
        "mark": certificate.fingerprint(hashes.SHA256()).hex()[:16],
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }
