"""Which mTLS mode is in force for a port of a pod: port over workload over namespace over mesh over PERMISSIVE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from refmesh.api.peer_authentication import MtlsMode, PeerAuthentication
from refmesh.config.model import Pod

__all__ = ["MtlsPolicies", "mode_in_force"]


@dataclass(frozen=True)
class MtlsPolicies:
    """All PeerAuthentications, sorted by whom they speak for; of several on one level the oldest wins."""

    mesh: PeerAuthentication | None
    namespaces: Mapping[str, PeerAuthentication]
    workloads: Mapping[str, tuple[PeerAuthentication, ...]]

    @classmethod
    def collect(cls, policies: Iterable[PeerAuthentication], root_namespace: str) -> MtlsPolicies:
        """Sort the policies of a snapshot."""
        namespaces: dict[str, PeerAuthentication] = {}
        workloads: dict[str, list[PeerAuthentication]] = {}
        for policy in sorted(policies, key=lambda policy: policy.meta.age_key):
            if policy.selector:
                workloads.setdefault(policy.meta.namespace, []).append(policy)
            else:
                namespaces.setdefault(policy.meta.namespace, policy)
        by_workload = {namespace: tuple(found) for namespace, found in workloads.items()}
        return cls(namespaces.get(root_namespace), namespaces, by_workload)

    def of_workload(self, pod: Pod) -> PeerAuthentication | None:
        """The policy whose selector picks the pod."""
        for policy in self.workloads.get(pod.namespace, ()):
            if all(pod.labels.get(key) == value for key, value in policy.selector.items()):
                return policy
        return None


def mode_in_force(policies: MtlsPolicies, pod: Pod, port: int | None) -> MtlsMode:
    """The mode for a port of the pod (its own number, not the Service's); None asks for the rest of its ports."""
    levels: list[MtlsMode] = []
    workload = policies.of_workload(pod)
    if workload is not None:
        if port is not None:
            levels.append(workload.ports.get(port, MtlsMode.UNSET))
        levels.append(workload.mode)
    namespace = policies.namespaces.get(pod.namespace)
    if namespace is not None:
        levels.append(namespace.mode)
    if policies.mesh is not None:
        levels.append(policies.mesh.mode)
    return next((mode for mode in levels if mode is not MtlsMode.UNSET), MtlsMode.PERMISSIVE)
