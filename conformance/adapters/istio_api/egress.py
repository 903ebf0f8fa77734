"""The way out: a workload's `Sidecar`, and `ServiceEntry` for hosts outside."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered
from conformance.intents import OutsideHost, WayOut

from .base import manifest, render

_API = "networking.istio.io/v1"

EVERY_SERVICE = [{"hosts": ["*/*"]}]
"""What a proxy knows that no Sidecar speaks of."""


def every_service() -> dict[str, Any]:
    """What keeps every service known to a namespace's proxies, for the namespace that it is created in.

    For the rest they are as without any, and a workload's own Sidecar wins (`initSidecarScopes` in Istio's
    `pilot/pkg/model/push_context.go`). Of those without a workload a namespace may have one only.
    """
    spec = {"egress": EVERY_SERVICE}
    return {"apiVersion": _API, "kind": "Sidecar", "metadata": {"name": "every-service"}, "spec": spec}


@render.register
def _(intent: WayOut) -> Rendered:
    """Every service stays known to the workload's proxies, whatever a wider Sidecar says."""
    spec = {
        "workloadSelector": {"labels": {"app": intent.workload}},
        "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY" if intent.registered_only else "ALLOW_ANY"},
        "egress": EVERY_SERVICE,
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
