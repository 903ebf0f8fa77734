"""Telemetry: `MeshAccessLog`, and what the check of metrics asks for and is not there."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot
from conformance.intents import LogAccesses, RequestMetrics, TraceRequests

from .base import KumaSettings, dataplanes, policy, render

cannot(render, "its proxies count by Envoy cluster, without the workload that asks", RequestMetrics)
cannot(render, "traces need a MeshTrace with the address of a collector", TraceRequests)


@render.register
def _(intent: LogAccesses, settings: KumaSettings) -> Rendered | Unsupported:
    """What arrives at the workload, in Kuma's own format. Envoy's standard output is its container's log."""
    backend = {"type": "File", "file": {"path": "/dev/stdout"}}
    spec = {"targetRef": dataplanes(intent.workload), "rules": [{"default": {"backends": [backend]}}]}
    return Rendered(objects=(policy(settings, "MeshAccessLog", f"{intent.workload}-log", intent.namespace, spec),))
