"""The way out: a workload's `Sidecar`, and `ServiceEntry` for hosts outside."""

from __future__ import annotations

from conformance.adapters.base import Rendered
from conformance.intents import OutsideHost, WayOut

from .base import manifest, render

_API = "networking.istio.io/v1"


@render.register
def _(intent: WayOut) -> Rendered:
    """Every service stays known to the workload's proxies, whatever a wider Sidecar says."""
    spec = {
        "workloadSelector": {"labels": {"app": intent.workload}},
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY" if intent.registered_only else "ALLOW_ANY"},
        "egress": [{"hosts": ["*/*"]}],
    }
    return Rendered(objects=(manifest(_API, "Sidecar", f"{intent.workload}-way-out", intent.namespace, spec),))


@render.register
def _(intent: OutsideHost) -> Rendered:
    """By its address, so that neither DNS nor a header has to name it."""
    spec = {
        "hosts": [intent.host],
        "addresses": [intent.address],
        "ports": [{"number": intent.port, "name": "http", "protocol": "HTTP", "targetPort": intent.target}],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "endpoints": [{"address": intent.address}],
    }
    return Rendered(objects=(manifest(_API, "ServiceEntry", intent.name, intent.namespace, spec),))
