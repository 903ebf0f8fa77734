"""What a proxy says of the traffic it carries: which Telemetry is in force, field by field.

Workload over namespace over root namespace over what was chosen at install; of several on one level the oldest speaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from refmesh.api.telemetry import Tag, Telemetry
from refmesh.config.model import Pod, Snapshot
from refmesh.discovery.scopes import Scopes

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
    log_filter: str = ""
    """A CEL expression that holds of what is logged; empty: everything is."""


@dataclass(frozen=True)
class TelemetryPolicies:
    """All Telemetry of a snapshot, by whom it speaks for."""

    base: Observation
    scopes: Scopes[Telemetry]

    @classmethod
    def collect(cls, policies: Iterable[Telemetry], root_namespace: str, base: Observation) -> TelemetryPolicies:
        """Sort the policies of a snapshot; `base` is what holds where none speaks."""
        return cls(base, Scopes.collect(policies, root_namespace))

    def client(self, pod: Pod, snapshot: Snapshot) -> Observation:
        """What the pod's proxy says of calls that its application makes."""
        return self.in_force("client", self.scopes.of(pod, snapshot))

    def server(self, pod: Pod, snapshot: Snapshot) -> Observation:
        """What the pod's proxy says of calls to its application."""
        return self.in_force("server", self.scopes.of(pod, snapshot))

    def in_force(self, side: str, policies: Iterable[Telemetry]) -> Observation:
        """What a proxy says of one side (`client` or `server`) where these speak for its pod, the widest first."""
        found = self.base
        for policy in policies:
            logged, traced = getattr(policy, f"{side}_log"), getattr(policy, side)
            if logged.wanted is not None:
                found = replace(found, access_log=logged.wanted)
            if logged.expression is not None:
                found = replace(found, log_filter=logged.expression)
            if found.sampling is None:
                continue  # no policy can have spans reported where the mesh has nowhere to report them to
            if traced.sampling is not None:
                found = replace(found, sampling=traced.sampling)
            if traced.silent is not None:
                found = replace(found, silent=traced.silent)
            if traced.tags is not None:
                found = replace(found, tags=traced.tags)
        return found
