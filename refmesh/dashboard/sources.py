"""Gathers a `View` from the parts of a running control plane."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from cryptography import x509

from refmesh.config.model import Pod
from refmesh.dashboard.view import Certificate, Proxy, Refused, View
from refmesh.discovery.ads import Hub
from refmesh.telemetry.collector import Collector

__all__ = ["Issuer", "view_of"]


class Issuer(Protocol):
    """What is needed of the CA."""

    def trust_bundle_pem(self) -> bytes:
        """The roots, PEM."""
        ...


def view_of(
    hub: Hub, collector: Collector, issuer: Issuer, replica: str = "", others: Callable[[], Iterable[Pod]] = tuple
) -> View:
    """The mesh as this replica of the control plane sees it now; `others` gives the pods of the other ones."""
    world = hub.world
    rejected = world.snapshot.rejected if world is not None else {}
    pods = world.snapshot.pods.values() if world is not None else ()
    proxies = []
    for (namespace, name), (state, _) in sorted(hub.streams.items()):
        problems = tuple(f"{kind}: {item['rejected']}" for kind, item in state.status().items() if item["rejected"])
        proxies.append(Proxy(f"{name}.{namespace}", state.in_step, problems))
    roots = [
        Certificate(f"root of the mesh ({certificate.subject.rfc4514_string()})", _end(certificate))
        for certificate in x509.load_pem_x509_certificates(issuer.trust_bundle_pem())
    ]
    leaves = [Certificate(f"{name}.{namespace}", end) for (namespace, name), end in collector.certificates.items()]
    return View(
        now=time.time(),
        edges=collector.edges(),
        proxies=tuple(proxies),
        refused=tuple(
            Refused(kind, namespace, name, item.reason) for (kind, namespace, name), item in sorted(rejected.items())
        ),
        certificates=(*roots, *leaves),
        unreachable=tuple(
            (f"{name}.{namespace}", why) for (namespace, name), why in sorted(collector.unreachable.items())
        ),
        replica=replica,
        others=tuple(sorted(pod.name for pod in others())),
        elsewhere=sum((pod.meshed or pod.router) and pod.key not in hub.streams for pod in pods),
    )


def _end(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()
