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
from meshproof_cli.mesh import skeleton
from reports.model import Verdict, from_json

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
AS_ISTIO = (
    "control-plane=refmesh-system/refmesh",
    "control-plane-app=refmesh",
    "proxy=refmesh-proxy",
    "root-certificates=refmesh-system/refmesh-ca-root-cert",
    "shortest-certificate=10",
    "longest-certificate=86400",
    "discovery-port=15011",
    "rejections-counter=refmesh_nacks_total",
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
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
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
        command, capture_output=True, text=True, check=False, timeout=900, env={**os.environ, "PYTHONPATH": path}
    )
    results = directory / "results.json"
    assert results.exists(), done.stdout + done.stderr
    return {one.id: (one.verdict, one.reason) for one in from_json(json.loads(results.read_text())).results}


def test_as_istio_it_passes_what_it_passes_as_refmesh(refmesh, tmp_path):
    found = judge(refmesh, tmp_path, "istio", "INJ-01,INJ-02,ID-01,MTLS-02,WT-01,CB-05", *AS_ISTIO)
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS}, found
    assert {"INJ-01", "INJ-02", "ID-01", "MTLS-02", "WT-01", "CB-05"} == found.keys()


GAMMA = (
    "namespace-labels=istio-injection=enabled",
    "pod-labels=sidecar.istio.io/inject=true",
    "opt-out-labels=sidecar.istio.io/inject=false",
    "identity=spiffe://cluster.local/ns/{namespace}/sa/{service_account}",
    "proxy-alpn=any",
)


def test_by_the_gateway_api_alone_it_passes_what_routes_can_say(refmesh, tmp_path):
    found = judge(refmesh, tmp_path, "gateway-api", "INJ-01,INJ-02,WT-01,WT-08,MTLS-01,MTLS-02,CB-05,ID-01", *GAMMA)
    unsupported = {"MTLS-02", "CB-05", "ID-01"}
    assert {name for name, (verdict, _) in found.items() if verdict is Verdict.UNSUPPORTED} == unsupported, found
    assert {name for name, (verdict, _) in found.items() if verdict is Verdict.PASS} == found.keys() - unsupported
    assert "no words for circuit breaking" in found["CB-05"][1]


def test_an_adapter_that_only_injects_passes_injection_and_nothing_else(refmesh, tmp_path):
    """What `meshproof mesh init` writes, told how this cluster's pods opt in."""
    package = tmp_path / "meshproof_tiny"
    for path, text in skeleton("tiny").items():
        words = text.replace(
            'LABEL: "enabled"',
            '"sidecar.istio.io/inject" if intent.scope is Scope.POD else '
            '"istio-injection": "true" if intent.scope is Scope.POD else "enabled"',
        )
        words = words.replace('LABEL: "disabled"', '"sidecar.istio.io/inject": "false"')
        words = words.replace('Place("tiny-system", "tiny")', 'Place("refmesh-system", "refmesh")')
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(words)
    known = tmp_path / "meshproof_tiny-0.1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: meshproof_tiny\nVersion: 0.1.0\n")
    (known / "entry_points.txt").write_text("[meshproof.adapters]\ntiny = meshproof_tiny:adapter\n")
    assert package.is_dir()
    checks = "INJ-01,INJ-02,INJ-03,INJ-04,MTLS-02,MTLS-03,MTLS-04,MTLS-05,ID-01,WT,CB,LB"
    found = judge(refmesh, tmp_path / "report", "tiny", checks, plugin=tmp_path)
    passed = {name for name, (verdict, _) in found.items() if verdict is Verdict.PASS}
    assert passed == {"INJ-01", "INJ-02", "INJ-03", "INJ-04"}, found
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS, Verdict.UNSUPPORTED}, found


def test_the_cluster_says_itself_which_mesh_it_has(refmesh):
    cluster, _ = refmesh
    command = [sys.executable, "-m", "meshproof_cli", "features", "--kubeconfig", str(cluster.kubeconfig)]
    done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    (proposal,) = json.loads(done.stdout)["proposals"]
    assert proposal["flags"] == ["--mesh", "refmesh", "--profile", "full"]
    for_people = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert "meshproof conformance --mesh refmesh --profile full" in for_people.stdout
    auto = [sys.executable, "-m", "meshproof_cli", "conformance", "--mesh", "auto", "--dry-run"]
    auto += ["--kubeconfig", str(cluster.kubeconfig)]
    done = subprocess.run(auto, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert "refmesh" in done.stdout, done.stderr
