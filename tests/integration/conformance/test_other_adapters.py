"""refmesh through the adapters of other meshes: it speaks Istio's API, so the verdicts must be the same.

A cluster of its own, as installing refmesh is mesh-wide. `MESHPROOF_TEST_CLUSTER=dev` uses the running one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from fixtures.cluster import Cluster
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.images import build_archive
from reports.model import Verdict, from_json

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
AS_ISTIO = (
    "control-plane=refmesh-system/refmesh",
    "control-plane-app=refmesh",
    "proxy=refmesh-proxy",
    "root-certificates=refmesh-system/refmesh-ca-root-cert",
)


@pytest.fixture(scope="module")
def refmesh(testrun_uid: str, worker_id: str) -> Iterator[tuple[Cluster, str]]:
    """A cluster with refmesh, and the name of the image."""
    provider = EmbeddedProvider()
    archive = build_archive()
    given = os.environ.get("MESHPROOF_TEST_CLUSTER")
    name = given or f"adapt-{testrun_uid[:6]}-{worker_id}"
    if given:
        cluster = next(one for one in provider.list() if one.name == given)
    else:
        cluster = provider.create(name, ephemeral_owner=os.getpid())
    try:
        provider.load(name, archive.path)
        command = [sys.executable, "-m", "refmesh", "install", "--image", archive.reference, "-y"]
        command += ["--kubeconfig", str(cluster.kubeconfig)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        yield cluster, archive.reference
    finally:
        if not given:
            provider.delete(name)


def judge(
    refmesh: tuple[Cluster, str], directory: Path, mesh: str, only: str, *settings: str, plugin: Path | None = None
) -> dict[str, tuple[Verdict, str]]:
    """Verdict and reason of every judged check."""
    cluster, image = refmesh
    flags = () if INSTALLED else ("-p", "conformance.plugin")
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--pyargs", "conformance", *flags, "-p", "no:cacheprovider"),
        *("--mesh", mesh, "--kubeconfig", str(cluster.kubeconfig), "--image", image, "--only", only),
        *("--report-dir", str(directory), "--no-wait", "-n", "2"),
    ]
    for setting in settings:
        command += ["--set", setting]
    path = os.pathsep.join([*([str(plugin)] if plugin else []), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "PYTHONPATH": path}
    )
    results = directory / "results.json"
    assert results.exists(), done.stdout + done.stderr
    return {one.id: (one.verdict, one.reason) for one in from_json(json.loads(results.read_text())).results}


def test_as_istio_it_passes_what_it_passes_as_refmesh(refmesh, tmp_path):
    found = judge(refmesh, tmp_path, "istio", "INJ-01,INJ-02,ID-01,MTLS-02,WT-01,CB-05", *AS_ISTIO)
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS}, found
    assert {"INJ-01", "INJ-02", "ID-01", "MTLS-02", "WT-01", "CB-05"} == found.keys()
