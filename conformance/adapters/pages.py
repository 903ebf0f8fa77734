"""What a sidecar says of itself, read from its admin port on the pod's loopback. Reads only."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from http.client import HTTPException

from fixtures.kube import ApiProblem, ForwardProblem, Kube
from fixtures.kube.containers import containers_of
from fixtures.proxies import open_here

__all__ = ["ENVOY", "UNREAD", "dump_pages", "has_container"]

ENVOY = {"config_dump.json": "/config_dump", "clusters.txt": "/clusters?format=json", "stats.txt": "/stats?usedonly"}
"""Envoy's pages that a failure's bundle keeps."""
SECONDS = 20.0
"""A page; the configuration of a proxy that knows a hundred services is megabytes, and took a busy machine over 5 s."""
UNREAD = "not to be had: "
"""How a page begins that could not be read."""


def has_container(kube: Kube, namespace: str, pod: str, container: str) -> bool:
    """Whether a pod has the container, as a native sidecar or as one beside the application's."""
    return any(one["name"] == container for one in containers_of(kube.get("v1", "Pod", pod, namespace) or {}))


def dump_pages(
    kube: Kube, namespace: str, pod: str, container: str, port: int, pages: Mapping[str, str]
) -> Mapping[str, str]:
    """Pages of a pod's loopback by file name; empty for a pod without the container (any, where that is "")."""
    found: dict[str, str] = {}
    if container and not has_container(kube, namespace, pod, container):
        return found
    with contextlib.suppress(ApiProblem, ForwardProblem), kube.forward(namespace, pod, port) as (host, local):
        for name, path in pages.items():
            try:
                with open_here(f"http://{host}:{local}{path}", SECONDS) as answer:
                    found[name] = answer.read().decode("utf-8", "replace")
            except (OSError, HTTPException) as error:  # such as an answer that breaks off
                found[name] = f"{UNREAD}{error}"
    return found
