"""The experiments on the reference mesh: they pass where they must, and find what is broken on purpose."""

import subprocess
import sys
from pathlib import Path

import pytest

import chaos
from chaos.settings import Settings
from fixtures.kube import Kube
from reports.model import Verdict

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chaos")]
ROOT = Path(__file__).parents[3]


def refmesh(cluster, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "refmesh", *arguments, "-y", "--kubeconfig", str(cluster.kubeconfig)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def mesh(cluster, image):
    refmesh(cluster, "install", "--image", image)
    yield cluster
    refmesh(cluster, "uninstall")


@pytest.fixture
def kube(mesh):
    one = Kube.connect(mesh.kubeconfig, mesh.context)
    chaos.restore(one, force=True)
    yield one
    chaos.restore(one, force=True)


def test_the_reference_mesh_takes_its_faults_and_the_sham_is_none(kube, image):
    results = {r.id: r for r in chaos.run(kube, "refmesh", image)}
    assert {name: (r.verdict.value, r.reason) for name, r in results.items() if not r.right} == {}
    assert results["A1"].verdict is Verdict.INCONCLUSIVE
    for name in ("C1", "P1", "N1"):
        figures = results[name].metrics
        assert figures["unauthorised_successes"] == 0
        assert figures["seconds_to_land"] >= 0
        spans = {f"{figure}_ms_{span}" for figure in ("p50", "p99") for span in ("before", "during", "after")}
        assert {
            "success_from_fault_on",
            "success_during",
            "seconds_to_steady_traffic",
            "seconds_to_recover",
            *spans,
        } <= set(figures)
        assert 0.9 <= figures["retry_amplification"] <= 1.2
        assert results[name].plots[0].kind == "timeline"
    assert results["C1"].metrics["added_errors"] == 0
    assert {"success_from_fault_on", "success_recovering", "p99_ms_recovering"} <= set(results["C1"].metrics)
    deployment = kube.get("apps/v1", "Deployment", "refmesh", "refmesh-system")
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 1


def test_strict_served_as_permissive_fails_before_any_fault(kube, mesh, image):
    refmesh(mesh, "install", "--image", image, "--defect", "strict-served-as-permissive")
    try:
        results = chaos.run(kube, "refmesh", image, ["C1"], settings=Settings(strict_timeout=20))
    finally:
        refmesh(mesh, "install", "--image", image)
    assert results[0].verdict is Verdict.FAIL
    assert "plaintext" in results[0].reason
