"""What an Envoy sidecar says of itself, read from its admin port on the pod's loopback. Reads only."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import urlopen

from fixtures.kube import ApiProblem, ForwardProblem, Kube

from .base import Proxy

__all__ = ["dump_envoy", "has_container"]

PAGES = {"config_dump.json": "/config_dump", "clusters.txt": "/clusters?format=json", "stats.txt": "/stats?usedonly"}
SECONDS = 5.0


def has_container(kube: Kube, namespace: str, pod: str, container: str) -> bool:
    """Whether a pod has the container, as a native sidecar or as one beside the application's."""
    spec = (kube.get("v1", "Pod", pod, namespace) or {}).get("spec", {})
    return any(one["name"] == container for one in (*spec.get("initContainers", ()), *spec.get("containers", ())))


def dump_envoy(kube: Kube, namespace: str, pod: str, proxy: Proxy) -> Mapping[str, str]:
    """Configuration, clusters and statistics by file name; empty for a pod without the proxy."""
    found: dict[str, str] = {}
    if proxy.admin_port is None or not has_container(kube, namespace, pod, proxy.container):
        return found
    forward = kube.forward(namespace, pod, proxy.admin_port)
    with contextlib.suppress(ApiProblem, ForwardProblem), forward as (host, port):
        for name, path in PAGES.items():
            try:
                with urlopen(f"http://{host}:{port}{path}", timeout=SECONDS) as answer:
                    found[name] = answer.read().decode("utf-8", "replace")
            except (URLError, OSError) as error:
                found[name] = f"not to be had: {error}"
    return found
