"""A real kind cluster: created, loaded with the product's image, judged by the headline checks, deleted.

Runs where a Docker engine answers. Where no node image of ours is there yet, root builds one first, so that no registry
is needed; others take kind's default image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cluster import Cluster
from fixtures.cluster.kind import KindProvider
from fixtures.cluster.kind.engine import docker_answers
from fixtures.cluster.kind.node_image import build_node_image, local_node_image
from fixtures.images import build_archive
from fixtures.kube import Kube, eventually
from reports.errors import UsageProblem

pytestmark = [
    pytest.mark.kind,
    pytest.mark.skipif(not docker_answers(), reason="no Docker engine answers, and kind needs one"),
    pytest.mark.xdist_group("kind"),
]

HEADLINES = "INJ-01,MTLS-01,MTLS-02,WT-01,CB-01"


@pytest.fixture(scope="module")
def node_image() -> str | None:
    if local_node_image() is None and os.geteuid() == 0 and shutil.which("debootstrap"):
        return build_node_image()
    return local_node_image()


def _containers() -> set[str]:
    asked = subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=True)
    return set(asked.stdout.split())


def test_create_load_logs_delete(node_image: str | None, tmp_path: Path) -> None:
    before = _containers()
    provider = KindProvider(node_image)
    cluster = provider.create("meshproof-kind-test")
    try:
        assert cluster in provider.list()
        archive = build_archive()
        provider.load(cluster.name, archive.path)
        _prints_from_the_image(cluster, archive.reference)
        provider.logs(cluster.name, tmp_path / "logs")
        assert list((tmp_path / "logs").rglob("kubelet.log"))
    finally:
        provider.delete(cluster.name)
    assert _containers() == before
    assert provider.list() == []
    with pytest.raises(UsageProblem, match="no kind cluster"):
        provider.kubeconfig(cluster.name)


def _prints_from_the_image(cluster: Cluster, image: str) -> None:
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    container = {"name": "p", "image": image, "command": ["python", "-c", "print('from the image')"]}
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        }
    )

    eventually(lambda: "from the image" in kube.logs("default", "p"), timeout=60, what="the pod prints")


def test_the_headline_checks_pass_on_kind(node_image: str | None, tmp_path: Path) -> None:
    before = _containers()
    environment = os.environ | ({"MESHPROOF_KIND_NODE_IMAGE": node_image} if node_image else {})
    done = subprocess.run(
        [
            *(sys.executable, "-m", "meshproof_cli", "run", "--cluster", "kind"),
            *("--only", HEADLINES, "--report-dir", str(tmp_path / "report")),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads((tmp_path / "report" / "results.json").read_text())
    assert {result["id"]: result["verdict"] for result in run["results"]} == dict.fromkeys(HEADLINES.split(","), "pass")
    assert _containers() == before
