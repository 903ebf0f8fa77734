"""The control plane's own metrics, all under `refmesh_`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "CONNECTED",
    "CONVERGENCE_SECONDS",
    "ENCODES",
    "GENERATE_SECONDS",
    "NACKS",
    "PUSHED",
    "REFUSED",
    "REJECTED_OBJECTS",
    "WATCH_ERRORS",
    "WATCH_LISTS",
]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0, 2.5, 5.0)

CONNECTED = Gauge("refmesh_connected_proxies", "Proxies with an open discovery stream")
REFUSED = Counter("refmesh_refused_proxies_total", "Discovery streams refused", ["reason"])
PUSHED = Counter("refmesh_pushed_resources_total", "Resources sent to proxies", ["type"])
NACKS = Counter("refmesh_nacks_total", "Pushes that a proxy rejected", ["type"])
ENCODES = Counter("refmesh_encoded_resources_total", "Resources built and encoded", ["type"])
GENERATE_SECONDS = Histogram("refmesh_generate_seconds", "Time from snapshot to resources", buckets=_FAST)
CONVERGENCE_SECONDS = Histogram(
    "refmesh_convergence_seconds", "Time from snapshot to a proxy's last ACK", buckets=_FAST
)
REJECTED_OBJECTS = Gauge("refmesh_rejected_objects", "Objects that are not in force because they are invalid", ["kind"])
WATCH_LISTS = Counter("refmesh_watch_lists_total", "Full lists read from the API server", ["kind"])
WATCH_ERRORS = Counter("refmesh_watch_errors_total", "Watches that ended with an error", ["kind"])
