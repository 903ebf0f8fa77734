from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

USAGE_ERROR = 4
INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))


def run(*flags: str, where=None, target: tuple[str, ...] = ("--pyargs", "conformance")):
    plugin = () if INSTALLED else ("-p", "conformance.plugin")
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *target, "-p", "no:cacheprovider", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=where, check=False)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "conformance needs --mesh NAME (known meshes: refmesh, none)"),
        (("--mesh", "istoi"), "no mesh is called 'istoi' (known meshes: refmesh, none;"),
        (("--mesh", "none", "--only", "XX-1"), "no check or group is called 'XX-1'"),
        (("--mesh", "none", "--alpha", "0"), "--alpha 0 is no error rate"),
        (("--mesh", "none", "--kubeconfig", "/no/such/file"), "/no/such/file"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_4(flags, said):
    done = run(*flags)
    assert done.returncode == USAGE_ERROR
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_checks_can_be_listed_without_a_cluster():
    done = run("--mesh", "none", "--only", "WT", "--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [f"[WT-{number}]" in done.stdout for number in ("01", "02", "05", "08")] == [True] * 4
    assert "CB-01" not in done.stdout


def test_other_peoples_tests_are_left_alone(tmp_path):
    (tmp_path / "test_mine.py").write_text("def test_it(): pass\n")
    done = run(target=(str(tmp_path),))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.glob("meshproof-report"))
