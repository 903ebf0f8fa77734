"""The suite itself, on plain Kubernetes: not one mesh check may pass, each on its own merit, and nothing stays."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from conformance.catalogue import checks
from fixtures.kube import Kube
from reports.model import Verdict, from_json

pytestmark = pytest.mark.cluster

INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))


def judge(cluster, image, report_dir, *flags: str):
    plugin = () if INSTALLED else ("-p", "conformance.plugin")
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--pyargs", "conformance", *plugin, "-p", "no:cacheprovider"),
        *("--mesh", "none", "--kubeconfig", str(cluster.kubeconfig), "--image", image),
        *("--report-dir", str(report_dir), *flags),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def namespaces_of_runs(kube: Kube) -> list[str]:
    return [item["metadata"]["name"] for item in kube.list("v1", "Namespace", selector="meshproof.io/run")]


def test_without_a_mesh_no_check_passes(cluster, image, tmp_path):
    kube = Kube.connect(cluster.kubeconfig)
    before = namespaces_of_runs(kube)
    # Gates wait in vain, most of the time: many side by side.
    done = judge(cluster, image, tmp_path, "-n", "8", "--ignore-requires", "--alluredir", str(tmp_path / "allure"))
    assert done.returncode == 1, done.stdout + done.stderr
    run = from_json(json.loads((tmp_path / "results.json").read_text()))
    assert {one.id for one in run.results} == {one.id for one in checks()}
    assert [one.id for one in run.results if one.verdict is Verdict.PASS] == []
    found = {one.id: one for one in run.results}
    # A machine that stood still lets the suite say nothing of a check. That one is judged by itself, and has to fail.
    if unsure := [one.id for one in run.results if one.verdict is Verdict.INCONCLUSIVE]:
        judge(cluster, image, tmp_path / "alone", "--ignore-requires", "--only", ",".join(unsure))
        alone = from_json(json.loads((tmp_path / "alone" / "results.json").read_text()))
        found |= {one.id: one for one in alone.results}
    assert {one.id: one.reason for one in found.values() if one.verdict is not Verdict.FAIL} == {}
    assert (tmp_path / "bundles" / "MTLS-01" / "history.json").stat().st_size > 100
    assert list((tmp_path / "allure").glob("*-result.json"))
    assert set(namespaces_of_runs(kube)) <= set(before)


def test_requirements_and_workers(cluster, image, tmp_path):
    flags = ("-n", "2", "--dist", "loadgroup", "--only", "INJ,WT-01")
    done = judge(cluster, image, tmp_path, *flags)
    assert done.returncode == 1, done.stdout + done.stderr
    run = from_json(json.loads((tmp_path / "results.json").read_text()))
    verdicts = {one.id: one.verdict for one in run.results}
    assert verdicts.pop("INJ-01") is Verdict.FAIL
    assert set(verdicts.values()) == {Verdict.NOT_RUN}
    assert all("requires INJ-01" in one.reason for one in run.results if one.id != "INJ-01")
    assert {stage.name for stage in run.stages} == {"checks inj", "checks join", "checks wide", "checks wt", "clean-up"}


def test_an_image_that_cannot_be_had_is_named(cluster, tmp_path):
    done = judge(cluster, "meshproof.local/no-such-image:1", tmp_path, "--only", "INJ-01")
    assert done.returncode == 1
    assert "the cluster cannot get the image meshproof.local/no-such-image:1" in done.stdout
    assert "Traceback" not in done.stdout
