"""Questions to the Prometheus that refmesh installs, by its HTTP API."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fixtures.kube import Kube

__all__ = ["Answers", "asked"]


@dataclass(frozen=True)
class Answers:
    """A Prometheus at a local port."""

    port: int

    def __call__(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The series that a query gives now: labels and value."""
        url = f"http://localhost:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            answer = json.load(reply)
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


@contextmanager
def asked(kube: Kube) -> Iterator[Answers]:
    """Forward the port of refmesh's Prometheus."""
    (pod,) = kube.list("v1", "Pod", "refmesh-system", selector="app=prometheus")
    with kube.forward("refmesh-system", pod["metadata"]["name"], 9090) as (_, port):
        yield Answers(port)
