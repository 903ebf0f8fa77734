"""Which endpoints the services of a ground are to have, and which they have. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from conformance.ground import Ground, Workload

__all__ = ["ready_endpoints", "wanted_endpoints"]


def wanted_endpoints(ground: Ground, place: str) -> dict[str, int]:
    """How many pods each service of a place selects."""
    pods = [one for one in ground.workloads if one.place == place]
    return {
        service.name: sum(
            one.replicas
            for one in pods
            if (one.app or one.name) == service.app and (not service.version or _version(one) == service.version)
        )
        for service in ground.services
        if service.place == place
    }


def ready_endpoints(slices: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How many Ready endpoints the slices give each service. Unknown readiness counts as Ready, as Kubernetes says."""
    found: Counter[str] = Counter()
    for one in slices:
        service = one["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
        found[service] += sum(
            item.get("conditions", {}).get("ready") is not False for item in one.get("endpoints") or ()
        )
    return found


def _version(workload: Workload) -> str:
    """Clients carry no version."""
    return workload.version if workload.kind == "echo" else ""
