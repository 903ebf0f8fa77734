"""What a large cluster costs the control plane in memory, while it follows changes and when it lists everything anew.

A real API server gets Services with EndpointSlices and Pods as a kubelet would leave them (labels, probes, volumes,
sidecar, conditions, managed fields); a scheduling gate keeps the Pods from being run. The control plane watches them
come, and is then restarted, so that it has to read all of them at once. Memory is the process's own word: resident now
(VmRSS) and at its highest (VmHWM). It is judged by the design's limit; the peer is the same process before.

    meshproof cluster create bench && meshproof refmesh install …
    python benchmarks/control_plane_memory.py --kubeconfig … --services 1000 --endpoints 10000
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubernetes import client, config
from rich.progress import Progress

from fixtures.kube import Kube, eventually

LIMIT_MB = 500
"""For 1,000 services and 10,000 endpoints."""
HOME, APP = "refmesh-system", "app=refmesh"
SPACES = 10
WRITERS = 6
QUIET = 5.0
"""Seconds without a larger figure: everything has been read."""
STATUS = "print(open('/proc/1/status').read())"


def service(index: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"s{index}", "labels": {"app": f"s{index}", "team": "bench"}},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def pod(index: int, number: int) -> dict[str, Any]:
    port = {"name": "http", "containerPort": 8080}
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}
    variables = [{"name": f"SETTING_{key}", "value": f"value of setting {key}"} for key in range(12)]
    container = {"image": "none", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}, "env": variables}
    return {
        "metadata": {
            "name": f"s{index}-{number}",
            "labels": {"app": f"s{index}", "version": "v1", "pod-template-hash": "5d4f8c7b9"},
            "annotations": {"checksum/config": "0" * 64},
        },
        "spec": {
            "schedulingGates": [{"name": "bench.meshproof.io/never"}],
            "automountServiceAccountToken": False,
            "initContainers": [{**container, "name": "refmesh-proxy", "restartPolicy": "Always"}],
            "containers": [{**container, "name": "app", "ports": [port], "readinessProbe": probe}],
        },
    }


def status(address: str) -> dict[str, Any]:
    state = {"ready": True, "restartCount": 0, "image": "none", "imageID": "", "state": {"running": {}}}
    conditions = ("Initialized", "Ready", "ContainersReady", "PodReadyToStartContainers")
    return {
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": name, "status": "True"} for name in conditions],
            "containerStatuses": [{**state, "name": "app"}],
            "initContainerStatuses": [{**state, "name": "refmesh-proxy"}],
        }
    }


def endpoints(index: int, addresses: list[str], space: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"s{index}", "labels": {"kubernetes.io/service-name": f"s{index}"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "targetRef": {"kind": "Pod", "name": f"s{index}-{number}", "namespace": space},
            }
            for number, address in enumerate(addresses)
        ],
    }


def write(api: client.ApiClient, space: str, index: int, each: int) -> None:
    """One service with its pods."""
    core, discovery = client.CoreV1Api(api), client.DiscoveryV1Api(api)
    numbers = [index * each + number for number in range(each)]
    addresses = [f"100.{64 + number // 65536}.{number // 256 % 256}.{number % 256}" for number in numbers]
    core.create_namespaced_service(space, service(index), _preload_content=False)
    for number, address in enumerate(addresses):
        core.create_namespaced_pod(space, pod(index, number), _preload_content=False)
        core.patch_namespaced_pod_status(f"s{index}-{number}", space, status(address), _preload_content=False)
    discovery.create_namespaced_endpoint_slice(space, endpoints(index, addresses, space), _preload_content=False)


class ControlPlane:
    """The process of the one replica."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    def memory(self) -> dict[str, int]:
        """Resident megabytes: now, and the most."""
        pods = self._kube.list("v1", "Pod", HOME, APP)
        (running,) = [one for one in pods if "deletionTimestamp" not in one["metadata"]]
        said = self._kube.exec(HOME, running["metadata"]["name"], ["python", "-c", STATUS]).stdout
        words = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
        return {name: int(words[field].split()[0]) // 1024 for name, field in (("now", "VmRSS"), ("most", "VmHWM"))}

    def settled(self) -> dict[str, int]:
        """Memory once it has not grown for a while."""
        seen, since = self.memory(), time.monotonic()
        while time.monotonic() - since < QUIET:
            time.sleep(1)
            found = self.memory()
            if found["most"] > seen["most"]:
                seen, since = found, time.monotonic()
        return self.memory()

    def restart(self) -> None:
        """A new process, which reads everything anew."""
        for one in self._kube.list("v1", "Pod", HOME, APP):
            self._kube.delete("v1", "Pod", one["metadata"]["name"], HOME)
            self._kube.wait_gone("v1", "Pod", one["metadata"]["name"], HOME)
        eventually(lambda: self._kube.list("v1", "Pod", HOME, APP) != [], timeout=60, what="another pod is made")
        self._kube.wait_pods_ready(HOME, APP, timeout=120)


def jobs(services: int, spaces: list[str]) -> Iterator[tuple[str, int]]:
    for index in range(services):
        yield spaces[index % len(spaces)], index


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kubeconfig", type=Path, required=True, help="a cluster with refmesh installed, one replica")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10_000)
    given = parser.parse_args()
    kube, api = Kube.connect(given.kubeconfig), config.new_client_from_config(str(given.kubeconfig))
    plane, each = ControlPlane(kube), given.endpoints // given.services
    spaces = [f"bench-large-{number}" for number in range(SPACES)]
    before = plane.settled()
    try:
        for space in spaces:
            kube.create_namespace(space)
        with ThreadPoolExecutor(WRITERS) as pool, Progress() as progress:
            written = pool.map(lambda job: write(api, job[0], job[1], each), jobs(given.services, spaces))
            for _ in progress.track(written, total=given.services, description="services"):
                pass
        followed = plane.settled()
        plane.restart()
        read = plane.settled()
    finally:
        for space in spaces:
            kube.delete("v1", "Namespace", space)
        kube.close()
    most = max(followed["most"], read["most"])
    found = {
        "services": given.services,
        "endpoints": given.services * each,
        "before_mb": before,
        "followed_mb": followed,
        "read_anew_mb": read,
        "limit_mb": LIMIT_MB,
        "met": most <= LIMIT_MB,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
