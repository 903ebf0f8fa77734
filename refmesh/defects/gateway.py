"""Defects of the ways in and out: whom gateways answer, how they speak to workloads, and who may call whom outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from refmesh.defects.defect import Defect
from refmesh.defects.makers import in_plaintext

__all__ = ["DEFECTS"]


def _every_host(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Let the first site of a listener stand for every host."""
    return lambda *args: tuple(replace(site, domain="*") for site in sound(*args)[:1])


def _own_certificate(sound: Callable[[str, str, str], Any]) -> Callable[[str, str, str], Any]:
    """Put a pair of one's own in the place of the one that was given."""
    key = ec.generate_private_key(ec.SECP256R1())
    nobody, now = x509.Name([]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    shown = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return lambda name, _chain, _key: sound(name, shown, private)


def _everybody_may(sound: Callable[..., bool]) -> Callable[..., bool]:
    """Let out whoever asks."""
    _ = sound
    return lambda _speaking, _settings: True


def _gateways_may(sound: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """Take a gateway for anybody whom a policy names."""

    def principal_identity(value: str, trust_domain: str) -> Any:
        found = sound(value, trust_domain)
        if not found.exact:
            return found
        either = f"{re.escape(found.exact)}|spiffe://[^/]+/ns/[^/]+/sa/.+-refmesh"
        return StringMatcher(safe_regex=RegexMatcher(regex=either))

    return principal_identity


DEFECTS = (
    Defect(
        "gateway-answers-every-host",
        "A gateway routes requests for any host, not only for its own.",
        "gateway",
        "refmesh.discovery.gateways:_sites",
        _every_host,
    ),
    Defect(
        "gateway-certificate-ignored",
        "A gateway shows a certificate of the control plane's making, not the one that it was given.",
        "gateway",
        "refmesh.discovery.tls:secret",
        _own_certificate,
    ),
    Defect(
        "gateway-speaks-plaintext",
        "A gateway sends requests to workloads in plaintext.",
        "gateway",
        "refmesh.discovery.routers:cluster_specs",
        in_plaintext,
    ),
    Defect(
        "registry-only-ignored",
        "Workloads may call any address, though a Sidecar lets them call registered hosts only.",
        "gateway",
        "refmesh.discovery.variants:may_reach_unknown",
        _everybody_may,
    ),
    Defect(
        "gateway-always-allowed",
        "What comes through a gateway is let in where somebody else alone is allowed.",
        "gateway",
        "refmesh.discovery.matchers:principal_identity",
        _gateways_may,
    ),
)
