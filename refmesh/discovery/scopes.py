"""Policies by whom they speak for: a workload, a namespace, or from the root namespace the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from refmesh.api.meta import Meta
from refmesh.api.selection import Selection
from refmesh.config.model import Pod, Snapshot

__all__ = ["Scopes"]


class _Policy(Protocol):
    @property
    def meta(self) -> Meta: ...
    @property
    def selection(self) -> Selection: ...


P = TypeVar("P", bound=_Policy)


@dataclass(frozen=True)
class Scopes(Generic[P]):
    """All policies of a kind. Of several on one level the oldest speaks."""

    mesh: P | None
    namespaces: Mapping[str, P]
    workloads: Mapping[str, tuple[P, ...]]

    @classmethod
    def collect(cls, policies: Iterable[P], root_namespace: str) -> Scopes[P]:
        """Sort the policies of a snapshot."""
        namespaces: dict[str, P] = {}
        workloads: dict[str, list[P]] = {}
        for policy in sorted(policies, key=lambda policy: policy.meta.age_key):
            if policy.selection.labels or policy.selection.services:
                workloads.setdefault(policy.meta.namespace, []).append(policy)
            else:
                namespaces.setdefault(policy.meta.namespace, policy)
        by_workload = {namespace: tuple(found) for namespace, found in workloads.items()}
        return cls(namespaces.get(root_namespace), namespaces, by_workload)

    def of(self, pod: Pod, snapshot: Snapshot) -> list[P]:
        """The policies that speak for a pod, the widest first: at most one for each level."""
        found = [self.mesh]
        if pod.namespace in self.namespaces and self.namespaces[pod.namespace] is not self.mesh:
            found.append(self.namespaces[pod.namespace])
        if candidates := self.workloads.get(pod.namespace):
            services = [service.name for service in snapshot.services_of(pod)]
            found.append(next((one for one in candidates if one.selection.picks(pod.labels, services)), None))
        return [policy for policy in found if policy is not None]
