"""What the proxies use: CPU time and memory of the sidecars in a namespace, read from their own cgroups.

The kubelet's summary would tell the same, but up to fifteen seconds late, which is longer than a short measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fixtures.kube import ApiProblem, ForwardProblem, Kube

__all__ = ["Usage", "parse_cgroup", "proxy_usage", "sidecars"]

OURS = frozenset({"driver", "echo", "sniffer", "client"})
"""Containers that are workload; every other running one in an injected pod belongs to the mesh."""

_READ = (
    "cat",
    "/sys/fs/cgroup/cpu.stat",
    "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/cpuacct/cpuacct.usage",
    "/sys/fs/cgroup/memory/memory.usage_in_bytes",
)
"""Version 2 and version 1 names at once: `cat` prints those that exist."""


@dataclass(frozen=True)
class Usage:
    """Totals over some containers."""

    cpu_seconds: float
    """CPU time since they started."""
    memory_bytes: float
    """Memory charged to them now."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu_seconds + other.cpu_seconds, self.memory_bytes + other.memory_bytes)


def parse_cgroup(text: str) -> Usage | None:
    """Read what `cat` printed of a container's cgroup files, in the order of _READ; None if it is something else."""
    cpu, numbers = 0.0, []
    for line in text.splitlines():
        name, _, value = line.strip().rpartition(" ")
        if not (value.isascii() and value.isdigit()):
            return None
        if name == "usage_usec":
            cpu = int(value) / 1e6
        elif not name:
            numbers.append(int(value))
    if cpu and len(numbers) == 1:
        return Usage(cpu, numbers[0])
    if not cpu and len(numbers) == 2:
        return Usage(numbers[0] / 1e9, numbers[1])
    return None


def sidecars(pod: Mapping[str, object]) -> list[str]:
    """Names of the containers of a pod that run beside the workload: native sidecars, or plain ones."""
    spec = pod.get("spec")
    if not isinstance(spec, Mapping):
        return []
    native = [c["name"] for c in spec.get("initContainers", ()) if c.get("restartPolicy") == "Always"]
    return native + [c["name"] for c in spec.get("containers", ()) if c["name"] not in OURS]


def proxy_usage(kube: Kube, namespace: str) -> Usage | None:
    """The sidecars of a namespace together; None where one cannot be read, for a part would look like the whole."""
    total: Usage | None = None
    try:
        for pod in kube.list("v1", "Pod", namespace):
            for container in sidecars(pod):
                said = kube.exec(namespace, pod["metadata"]["name"], _READ, container=container, timeout=5).stdout
                usage = parse_cgroup(said)
                if usage is None:
                    return None
                total = usage if total is None else total + usage
    except (ApiProblem, ForwardProblem):
        return None
    return total
