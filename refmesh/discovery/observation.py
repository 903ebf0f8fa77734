"""What a proxy says of the traffic it carries: which Telemetry is in force, field by field.

Workload over namespace over root namespace over what was chosen at install; of several on one level the oldest speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from refmesh.api.telemetry import Tag, Telemetry
from refmesh.config.model import Pod, Snapshot

__all__ = ["Observation", "TelemetryPolicies"]


@dataclass(frozen=True, slots=True)
class Observation:
    """What is said of one direction. Pods for which the same is said share what they are sent."""

    access_log: bool = True
    sampling: float | None = None
    """Percentage of new traces that are recorded; None: the mesh does not trace at all."""
    silent: bool = False
    """Spans are not reported; trace context goes on to the next hop all the same."""
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True)
class TelemetryPolicies:
    """All Telemetry of a snapshot, by whom it speaks for."""

    base: Observation
    mesh: Telemetry | None
    namespaces: Mapping[str, Telemetry]
    workloads: Mapping[str, tuple[Telemetry, ...]]

    @classmethod
    def collect(cls, policies: Iterable[Telemetry], root_namespace: str, base: Observation) -> TelemetryPolicies:
        """Sort the policies of a snapshot; `base` is what holds where none speaks."""
        namespaces: dict[str, Telemetry] = {}
        workloads: dict[str, list[Telemetry]] = {}
        for policy in sorted(policies, key=lambda policy: policy.meta.age_key):
            if policy.selection.labels or policy.selection.services:
                workloads.setdefault(policy.meta.namespace, []).append(policy)
            else:
                namespaces.setdefault(policy.meta.namespace, policy)
        by_workload = {namespace: tuple(found) for namespace, found in workloads.items()}
        return cls(base, namespaces.get(root_namespace), namespaces, by_workload)

    def client(self, pod: Pod, snapshot: Snapshot) -> Observation:
        """What the pod's proxy says of calls that its application makes."""
        return self._in_force("client", self._speaking(pod, snapshot))

    def server(self, pod: Pod, snapshot: Snapshot) -> Observation:
        """What the pod's proxy says of calls to its application."""
        return self._in_force("server", self._speaking(pod, snapshot))

    def _speaking(self, pod: Pod, snapshot: Snapshot) -> list[Telemetry]:
        """The policies that speak for a pod, the widest first."""
        found = [self.mesh, self.namespaces.get(pod.namespace)]
        if candidates := self.workloads.get(pod.namespace):
            services = [service.name for service in snapshot.services_of(pod)]
            found.append(next((one for one in candidates if one.selection.picks(pod.labels, services)), None))
        return [policy for policy in dict.fromkeys(found) if policy is not None]

    def _in_force(self, side: str, policies: Iterable[Telemetry]) -> Observation:
        found = self.base
        for policy in policies:
            logged, traced = getattr(policy.logging, side), getattr(policy, side)
            if logged is not None:
                found = replace(found, access_log=logged)
            if found.sampling is None:
                continue  # no policy can have spans reported where the mesh has nowhere to report them to
            if traced.sampling is not None:
                found = replace(found, sampling=traced.sampling)
            if traced.silent is not None:
                found = replace(found, silent=traced.silent)
            if traced.tags is not None:
                found = replace(found, tags=traced.tags)
        return found
