"""A real Istio, built from its module, judged by the one command that the README names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.cluster.programs import ensure
from fixtures.images.istio import tag
from reports.model import Verdict, from_json

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[3]


def test_a_real_istio_is_conformant(tmp_path):
    ensure(["istio"])  # outside of the time limit: minutes of compilation the first time
    report = tmp_path / "report"
    command = [sys.executable, "-m", "meshproof_cli", "run", "--mesh", "istio", "--cluster", "embedded"]
    command += ["--only", "conformance", "--report-dir", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=900)
    results = report / "results.json"
    assert results.exists(), done.stdout + done.stderr
    run = from_json(json.loads(results.read_text()))
    wrong = [(one.id, one.reason) for one in run.results if one.verdict is not Verdict.PASS]
    assert (done.returncode, wrong) == (0, []), done.stderr
    assert len(run.results) >= 20
    assert (run.mesh, run.mesh_version) == ("istio", tag())
