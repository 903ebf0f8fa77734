"""Scraping of injected pods: one port gives the proxy's metrics and the application's, whatever mTLS mode is in force.

The annotations are those that Prometheus installations look for. The application's own are moved into the sidecar,
which asks it and gives both. Opting out works as in Istio: `prometheus.istio.io/merge-metrics: "false"` leaves all as
it is, and so does an application that says `prometheus.io/scrape: "false"`. Where the port is none that can be asked,
all is left as it is, too, with a warning: metrics are no reason to refuse a pod.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from refmesh.agent.places import AGENT_PORT
from refmesh.agent.scrape import METRICS_PATH

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["merged", "unreadable"]

_SCRAPE, _PORT, _PATH = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"
_MERGE = "prometheus.istio.io/merge-metrics"


def merged(annotations: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the annotations that the pod gets and the environment variables of its agent."""
    if annotations.get(_MERGE) == "false" or annotations.get(_SCRAPE) == "false" or unreadable(annotations):
        return {}, {}
    found = {_SCRAPE: "true", _PORT: str(AGENT_PORT), _PATH: METRICS_PATH}
    if annotations.get(_SCRAPE) != "true":
        return found, {}
    port, path = int(annotations.get(_PORT) or "80"), annotations.get(_PATH) or "/metrics"
    if port == AGENT_PORT:
        # Applied already, by a template that was copied from a running pod: the agent must not ask itself.
        return found, {}
    own = {"port": port, "path": path if path.startswith("/") else f"/{path}"}
    return found, {"REFMESH_APP_METRICS": json.dumps(own, separators=(",", ":"))}


def unreadable(annotations: Mapping[str, str]) -> str:
    """Return why the application's metrics are not given with the proxy's though it names some, or nothing."""
    if annotations.get(_MERGE) == "false" or annotations.get(_SCRAPE) != "true":
        return ""
    port = annotations.get(_PORT) or "80"
    if port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536:
        return ""
    return f"annotation {_PORT}: {port!r} is not a port number, so metrics are scraped as if there were no mesh"
