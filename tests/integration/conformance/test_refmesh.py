"""The headline checks' own power on the reference mesh: sound, all pass; with a defect, what speaks of it fails.

The whole catalogue against every seeded defect is `meshproof sensitivity`'s work: it takes hours.

A cluster of its own: installing refmesh is mesh-wide. `MESHPROOF_TEST_CLUSTER=dev` uses the running one of that name.
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

from conformance.catalogue import select
from conformance.profiles import HEADLINE
from fixtures.cluster import Cluster
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.images import build_archive
from reports.model import Verdict, from_json
from reports.schemas import KILL_MATRIX, first_flaw

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]
INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
DEFECTS = {
    "weights-off-by-5": ("WT-01,WT-02,WT-05,WT-08", {"WT-01": Verdict.FAIL, "WT-05": Verdict.FAIL}),
    "strict-served-as-permissive": (
        "MTLS-01,MTLS-02,MTLS-03,MTLS-04,MTLS-05,INJ-05",
        {
            "MTLS-02": Verdict.FAIL,
            "MTLS-04": Verdict.FAIL,
            "MTLS-05": Verdict.FAIL,
            "INJ-05": Verdict.FAIL,
        },
    ),
    "opt-out-ignored": ("INJ-01,INJ-02,INJ-03,INJ-04", {"INJ-02": Verdict.FAIL}),
    "ejected-host-never-returns": ("CB-01,CB-02,CB-03,CB-07", {"CB-03": Verdict.FAIL}),
    "connection-limit-ignored": ("CB-01,CB-02,CB-03,CB-05,CB-07", {"CB-05": Verdict.FAIL}),
    "san-from-csr": ("ID-01,INJ-01", {"ID-01": Verdict.FAIL}),
}


@pytest.fixture(scope="module")
def ground(testrun_uid: str, worker_id: str) -> Iterator[tuple[Cluster, str]]:
    """A cluster with the product's image in it."""
    provider = EmbeddedProvider()
    archive = build_archive()
    if given := os.environ.get("MESHPROOF_TEST_CLUSTER"):
        cluster = next(one for one in provider.list() if one.name == given)
        provider.load(cluster.name, archive.path)
        yield cluster, archive.reference
        return
    name = f"conf-{testrun_uid[:6]}-{worker_id}"
    cluster = provider.create(name, ephemeral_owner=os.getpid())
    try:
        provider.load(name, archive.path)
        yield cluster, archive.reference
    finally:
        provider.delete(name)


def install(ground: tuple[Cluster, str], *flags: str) -> None:
    cluster, image = ground
    command = [sys.executable, "-m", "refmesh", "install", "--image", image, "-y", *flags]
    command += ["--kubeconfig", str(cluster.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def judge(ground: tuple[Cluster, str], report_dir: Path, *flags: str) -> tuple[int, dict[str, Verdict], str]:
    """Exit code, verdicts and output of the suite."""
    cluster, image = ground
    plugin = () if INSTALLED else ("-p", "conformance.plugin")
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--pyargs", "conformance", *plugin, "-p", "no:cacheprovider"),
        *("--mesh", "refmesh", "--kubeconfig", str(cluster.kubeconfig), "--image", image),
        *("--report-dir", str(report_dir), *flags),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    results = from_json(json.loads((report_dir / "results.json").read_text())).results
    return done.returncode, {one.id: one.verdict for one in results}, done.stdout + done.stderr


def test_a_sound_mesh_passes_every_headline_check(ground, tmp_path):
    install(ground)
    code, verdicts, said = judge(ground, tmp_path, "-n", "2", "--profile", "headline")
    assert code == 0, said
    assert verdicts == dict.fromkeys((one.id for one in select(profile=HEADLINE)), Verdict.PASS)
    assert not (tmp_path / "bundles").exists()


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_fails_what_speaks_of_it_and_nothing_else(ground, tmp_path, defect):
    only, expected = DEFECTS[defect]
    install(ground, "--defect", defect)
    try:
        code, verdicts, said = judge(ground, tmp_path, "--only", only)
    finally:
        install(ground)
    assert code == 1, said
    assert {name: verdict for name, verdict in verdicts.items() if verdict is not Verdict.PASS} == expected, said
    assert len(verdicts) > len(expected)
    failed = next(name for name, verdict in expected.items() if verdict is Verdict.FAIL)
    assert (tmp_path / "bundles" / failed / "history.json").exists()


def meshproof(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meshproof_cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)


def test_the_suite_measures_itself_and_what_it_kept_is_judged_again_and_compared(ground, tmp_path):
    cluster, image = ground
    access = ("--kubeconfig", str(cluster.kubeconfig))
    refused = meshproof("sensitivity", *access, "--image", image, "--report-dir", str(tmp_path), "--yes")
    assert (refused.returncode, "installed on this cluster already" in refused.stderr) == (2, True), refused.stderr
    gone = meshproof("refmesh", "uninstall", *access, "--yes")
    assert gone.returncode == 0, gone.stderr
    done = meshproof(
        *("sensitivity", *access, "--yes", "--image", image, "--report-dir", str(tmp_path)),
        *("--defects", "weights-off-by-5", "--clean", "1", "--only", "WT-01,WT-02", "-o", "json"),
    )
    install(ground)
    assert done.returncode == 0, done.stdout + done.stderr
    matrix = json.loads(done.stdout)
    assert first_flaw(matrix, KILL_MATRIX) is None
    assert {one["subject"]["name"]: one["outcome"] for one in matrix["trials"]} == {
        "weights-off-by-5": "killed",
        "clean-1": "quiet",
    }
    assert "WT-01" in (tmp_path / "kill-matrix.html").read_text()
    trials = tmp_path / "trials"
    again = meshproof("replay", str(trials / "weights-off-by-5"), "-o", "json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert {row["id"]: row["now"] for row in json.loads(again.stdout)}["WT-01"] == "fail"
    compared = meshproof("compare", str(trials / "clean-1"), str(trials / "weights-off-by-5"), "-o", "json")
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert json.loads(compared.stdout)["summary"]["worse"] == 1
    assert meshproof("compare", str(trials / "clean-1"), str(trials / "clean-1")).returncode == 0
