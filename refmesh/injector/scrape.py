"""Scraping of injected pods: one port gives the proxy's metrics and the application's, whatever mTLS mode is in force.

The annotations are those that Prometheus installations look for. The application's own are moved into the sidecar,
which asks it and gives both. Opting out works as in Istio: `prometheus.istio.io/merge-metrics: "false"` leaves all as
it is, and so does an application that says `prometheus.io/scrape: "false"`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from refmesh.agent.scrape import METRICS_PATH
from refmesh.agent.settings import AGENT_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["merged"]

_SCRAPE, _PORT, _PATH = "prometheus.io/scrape", "prometheus.io/port", "prometheus.io/path"
_MERGE = "prometheus.istio.io/merge-metrics"


def merged(annotations: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the annotations that the pod gets and the environment variables of its agent. Raises ValueError."""
    if annotations.get(_MERGE) == "false" or annotations.get(_SCRAPE) == "false":
        return {}, {}
    found = {_SCRAPE: "true", _PORT: str(AGENT_PORT), _PATH: METRICS_PATH}
    if annotations.get(_SCRAPE) != "true":
        return found, {}
    port, path = annotations.get(_PORT) or "80", annotations.get(_PATH) or "/metrics"
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"annotation {_PORT}: {port!r} is not a port number")
    if not path.startswith("/") or any(not "!" <= letter <= "~" for letter in path):
        raise ValueError(f"annotation {_PATH}: {path!r} is not a path")
    if int(port) == AGENT_PORT:
        # Applied already, by a template that was copied from a running pod: the agent must not ask itself.
        return found, {}
    own = {"port": int(port), "path": path}
    return found, {"REFMESH_APP_METRICS": json.dumps(own, separators=(",", ":"))}
