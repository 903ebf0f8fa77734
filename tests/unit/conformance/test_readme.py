"""What the README shows is true: its check is one, its settings are read, its flags are taken."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from conformance import catalogue
from conformance.adapters import load
from conformance.selection import features
from conformance.settings import read_settings
from fixtures.workloads.traffic import Record
from reports.model import Verdict

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return str(found)


def test_the_check_in_twenty_lines_is_one(monkeypatch):
    known = dict(catalogue._filled())
    monkeypatch.setattr(catalogue, "_checks", known)
    module = ModuleType("example")
    exec(compile(block("python"), "README.md", "exec"), vars(module))
    made = known["RS-90"]
    assert made.collect is module.cut_off
    assert set(made.proves) <= set(features(one for one in known.values() if one is not made))
    assert sum(bool(line) for line in block("python").splitlines()) <= 24
    cut = Record(0.0, 0.5, 504, None, fresh=True)
    served = Record(0.0, 2.0, 200, None, fresh=True)
    assert made.judge((cut, cut)).verdict is Verdict.PASS
    assert made.judge((cut, served)).verdict is Verdict.FAIL
    assert made.judge(()).verdict is Verdict.INCONCLUSIVE


def test_the_check_passes_the_lint_of_the_tree():
    ruff = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "conformance/checks/slow_cut.py", "-"]
    root = Path(__file__).parents[3]
    done = subprocess.run(ruff, input=block("python"), capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout


def test_the_settings_file_is_read(tmp_path):
    path = tmp_path / "meshproof.yaml"
    path.write_text(block("yaml"))
    found = read_settings(path, ["pods.labels.team=net", "timeouts.in-force=30"])
    assert found.limits.in_force == 30
    assert found.mesh == {"trust-domain": "example.org"}


@pytest.mark.parametrize("line", re.findall(r"^\|.*--mesh ([a-z-]+)([^|]*)\|$", README, re.MULTILINE))
def test_the_settings_of_each_mesh_are_taken(line):
    mesh, rest = line
    settings = dict(re.findall(r"--set ([a-z-]+)=([^ `]+)", rest))
    filled = {key: value if value != "NAMESPACE/NAME" else "ns/name" for key, value in settings.items()}
    assert load(mesh, filled).name == mesh
