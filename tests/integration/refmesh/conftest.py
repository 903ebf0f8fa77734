"""A cluster of its own for refmesh's tests: they install and uninstall, which would pull the rug from under others.

`MESHPROOF_TEST_CLUSTER=dev` uses the running cluster of that name instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.cluster import Cluster
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.images import build_archive
from fixtures.kube import Kube

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Mesh:
    """refmesh on a cluster: its command line, the cluster, the image."""

    cluster: Cluster
    kube: Kube
    image: str

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run `refmesh` against the cluster and check its exit code."""
        target = ["--kubeconfig", str(self.cluster.kubeconfig)]
        done = subprocess.run(
            [sys.executable, "-m", "refmesh", *arguments, *target],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=180,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def install(self, *arguments: str) -> float:
        """Install, and return the seconds it took by its own account."""
        done = self.run("install", "--image", self.image, "-y", "-o", "json", *arguments)
        return float(json.loads(done.stdout)[0]["seconds"])

    def admin(self, namespace: str, pod: str, path: str) -> Any:
        """A page of the proxy's admin port."""
        command = ["python", "-m", "refmesh.agent.hooks", "admin", path]
        return self.kube.exec(namespace, pod, command, container="refmesh-proxy").stdout


@pytest.fixture(scope="session")
def own_cluster(testrun_uid: str, worker_id: str) -> Iterator[Cluster]:
    provider = EmbeddedProvider()
    if given := os.environ.get("MESHPROOF_TEST_CLUSTER"):
        yield next(cluster for cluster in provider.list() if cluster.name == given)
        return
    name = f"refmesh-{testrun_uid[:6]}-{worker_id}"
    yield provider.create(name, ephemeral_owner=os.getpid())
    provider.delete(name)


@pytest.fixture(scope="session")
def mesh(own_cluster: Cluster) -> Iterator[Mesh]:
    """refmesh, installed."""
    archive = build_archive()
    EmbeddedProvider().load(own_cluster.name, archive.path)
    kube = Kube.connect(own_cluster.kubeconfig, own_cluster.context)
    installed = Mesh(own_cluster, kube, archive.reference)
    installed.install()
    yield installed
    kube.close()
