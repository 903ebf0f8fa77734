from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

USAGE_ERROR = 4
NO_ASYNCIO = ("-p", "no:asyncio")  # it warns of a setting that only our own tests have
ROOT = Path(__file__).parents[3]
INSTALLED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))


@dataclass(frozen=True)
class Done:
    """What a pytest within this one came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run pytest with these arguments in this process: ten times as fast as one of its own."""

    def call(*flags: str, where: Path | None = None, target: tuple[str, ...] = ("--pyargs", "conformance")) -> Done:
        if where is not None:
            monkeypatch.chdir(where)
        # Of the flags around us: this pytest shall see none of them.
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        plugin = () if INSTALLED else ("-p", "conformance.plugin")
        capfd.readouterr()
        quiet = ("-q", "-c", os.devnull, "--rootdir", str(ROOT), "-p", "no:cacheprovider", *NO_ASYNCIO)
        code = pytest.main([*quiet, *plugin, *target, *flags])
        out, err = capfd.readouterr()
        return Done(int(code), out, err)

    return call


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "conformance needs --mesh NAME (known meshes: "),
        (("--mesh", "istoi"), "no mesh is called 'istoi' (known meshes: "),
        (("--mesh", "none", "--only", "XX-1"), "no check or group is called 'XX-1'"),
        (("--mesh", "none", "--features", "wieghts"), "no feature called 'wieghts' (did you mean weights"),
        (("--mesh", "none", "--mesh-exempt", "CB-99"), "no feature, check or group called 'CB-99'"),
        (("--mesh", "none", "--profile", "fast"), "no profile called 'fast'"),
        (("--mesh", "none", "--seed", "x"), "invalid int value: 'x'"),
        (("--mesh", "none", "--rerun-failed", "/no/such"), "neither a results.json nor a bundle at /no/such"),
        (("--list",), "--list and --dry-run of the conformance suite need --mesh NAME"),
        (("--mesh", "none", "--alpha", "0"), "--alpha 0 is no error rate"),
        (("--mesh", "none", "--kubeconfig", "/no/such/file"), "/no/such/file"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_4(run, flags, said):
    done = run(*flags)
    assert done.returncode == USAGE_ERROR
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_checks_can_be_listed_without_a_cluster(run):
    done = run("--mesh", "none", "--only", "WT", "--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [f"[WT-{number}]" in done.stdout for number in ("01", "02", "05", "08")] == [True] * 4
    assert "CB-01" not in done.stdout


@pytest.mark.parametrize(
    ("flags", "there", "gone"),
    [
        (("-m", "weights and core"), "WT-01", "CB-01"),
        (("-m", "not circuit_breaking"), "WT-01", "CB-01"),
        (("-k", "CB-01"), "CB-01", "WT-01"),
    ],
)
def test_pytests_own_selection_works_with_strict_markers(run, flags, there, gone):
    done = run("--mesh", "none", "--strict-markers", "--collect-only", *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"[{there}]" in done.stdout
    assert f"[{gone}]" not in done.stdout


def test_list_and_dry_run_need_no_cluster_and_touch_none(run):
    done = run("--mesh", "refmesh", "--kubeconfig", "/no/such/file", "--only", "WT", "--exempt", "WT-02", "--list")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["WT-01", "WT-02"]
    assert "(unsupported: exempted by --exempt WT-02)" in done.stdout
    done = run("--mesh", "refmesh", "--kubeconfig", "/no/such/file", "--only", "WT-01", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "namespaces mp-run-wt-in, mp-run-wt-out" in done.stdout


def test_a_plugin_with_a_flag_of_the_same_name_is_no_obstacle(tmp_path):
    (tmp_path / "other.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--profile', '--seed', action='store_true')\n"
    )
    command = (sys.executable, "-m", "pytest", "-q", "-p", "other", "-p", "conformance.plugin")
    flags = ("--pyargs", "conformance", "--mesh", "none", "--mesh-profile", "weights", "--profile", "--collect-only")
    done = subprocess.run(
        [*command, *flags, "-p", "no:cacheprovider"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WT-01]" in done.stdout
    assert "[CB-01]" not in done.stdout


def test_other_peoples_tests_are_left_alone(run, tmp_path):
    (tmp_path / "test_mine.py").write_text("def test_it(): pass\n")
    done = run(target=(str(tmp_path),))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.glob("meshproof-report"))
