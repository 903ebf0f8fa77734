from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from conformance.flags import add_short_names, without_values
from tests.unit.conformance.pytest_runs import ROOT, Done, Worker

USAGE_ERROR = 4


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
        (("--mesh", "none", "--collect-only", "--profile", "nix"), "no profile called 'nix'"),
        (("--mesh", "none", "--collect-only", "--only", "WT", "--skip", "WT"), "nothing of the profile full is left"),
        (("--mesh", "none", "--list", "--alpha", "2"), "--alpha 2 is no error rate"),
        (("--mesh", "none", "--list", "-k", "WT-01"), "--list and --dry-run know nothing of -k and -m"),
        (("--mesh", "none", "--dry-run", "-m", "core"), "--list and --dry-run know nothing of -k and -m"),
        (("--mesh", "none", "--setup-only"), "--setup-only would create namespaces and judge nothing"),
        (("--mesh", "none", "--report-dir", __file__), f"the report directory {__file__} is a file"),
        (("--mesh", "none", "--report-dir", "/proc/x"), "cannot write /proc/x: "),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_4(run, tmp_path, flags, said):
    done = run(*flags, where=tmp_path)
    assert done.returncode == USAGE_ERROR
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_worker_without_a_mesh_says_so_and_does_not_crash(run):
    done = run(plugins=(Worker(),))
    assert done.returncode == pytest.ExitCode.INTERRUPTED  # an error in collection
    assert "conformance needs --mesh NAME (known meshes: " in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


class Offers:
    """What pytest-repeat and pytest-forked do."""

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        parser.addoption("--count", type=int, default=1)
        parser.addoption("--forked", action="store_true")

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        config.pluginmanager.register(SimpleNamespace(), "repeat")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--count", "2"), "--mesh judges each check once, and a copy has the same verdict: leave --count out"),
        (("--forked",), "--mesh cannot be judged in forked processes: leave --forked out"),
    ],
)
def test_ways_of_other_plugins_to_run_a_test_are_refused_where_a_check_has_to_be_run_once(run, tmp_path, flags, said):
    done = run("--mesh", "none", *flags, where=tmp_path, plugins=(Offers(),))
    assert done.returncode == USAGE_ERROR
    assert said in done.stderr


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


@pytest.mark.parametrize(
    "question", ["--help", "--markers", "--fixtures", "--fixtures-per-test", "--setup-plan", "--collect-only"]
)
def test_a_question_reaches_no_cluster_and_leaves_the_report_alone(run, tmp_path, question):
    report = tmp_path / "meshproof-report" / "results.json"
    report.parent.mkdir()
    report.touch()
    done = run("--mesh", "none", "--kubeconfig", "/no/such/file", "--only", "WT", question, where=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(report.parent.iterdir()) == [report]


CONFTEST = """
def pytest_addoption(parser):
    for name in ('--kubeconfig', '--image', '--seed', '--config', '--set', '--context'):
        parser.addoption(name, default='theirs')
"""
MINE = """
def test_it(request):
    assert request.config.getoption('--seed') == 'mine'
    assert request.config.getoption('--config') == 'theirs'
"""


def alone(where: Path, *flags: str) -> Done:
    """A pytest of its own with the plugin, started in a folder."""
    command = (sys.executable, "-m", "pytest", "-q", "-p", "conformance.plugin", "-p", "no:cacheprovider")
    around = {"PYTHONPATH": f"{where}:{ROOT}", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [*command, *flags],
        capture_output=True, text=True, timeout=120, check=False, cwd=where, env={**os.environ, **around},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_conftest_with_flags_of_the_same_names_keeps_them(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(MINE)
    done = alone(tmp_path, "--seed", "mine", "test_mine.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("where", ["addopts", "a file of arguments"])
def test_a_project_may_keep_short_names_in_its_settings(tmp_path, where):
    (tmp_path / "test_mine.py").write_text("def test_it(): pass\n")
    if where == "addopts":
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --report-dir=out --kubeconfig=kc\n")
        done = alone(tmp_path, "test_mine.py")
    else:
        (tmp_path / "words.txt").write_text("--pyargs\nconformance\n--mesh\nnone\n--list\n")
        done = alone(tmp_path, "@words.txt")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plugin_or_conftest_with_a_flag_of_the_same_name_is_no_obstacle(tmp_path):
    (tmp_path / "other.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--profile', '--seed', action='store_true')\n"
    )
    (tmp_path / "conftest.py").write_text(CONFTEST.replace("'--seed', ", ""))
    (tmp_path / "kube.yaml").touch()
    flags = ("--pyargs", "conformance", "--mesh", "none", "--mesh-profile", "weights", "--profile", "--collect-only")
    done = alone(
        tmp_path, "-p", "other", *flags, "--kubeconfig", "kube.yaml", "--skip", "WT-02", "--mesh-set", "pods.labels.a=b"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WT-01]" in done.stdout
    assert "[WT-02]" not in done.stdout
    assert "[CB-01]" not in done.stdout


class Group:
    """Options as pytest kept them before its version 9: what is added twice is noticed when they are parsed."""

    def __init__(self, *names: str) -> None:
        self.options = [Option(names)] if names else []

    def addoption(self, *names: str, **_: object) -> None:
        self.options.append(Option(names))


@dataclass(frozen=True)
class Option:
    given: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        return self.given


def test_no_pytest_is_given_a_short_name_that_somebody_has():
    ours = Group("--mesh-seed")
    parser = SimpleNamespace(_anonymous=Group("--seed"), _groups=[ours, Group("--set")], getgroup=lambda *_: ours)
    add_short_names(cast("pytest.Parser", parser))
    short = {name for option in ours.options for name in option.names()}
    assert "--only" in short
    assert not {"--seed", "--set"} & short


def test_values_of_short_names_are_no_paths_of_tests():
    line = ("conformance", "--mesh", "none", "--kubeconfig", "kube/config", "--list", "mine", "--only", "WT", "-k", "x")
    assert without_values(["conformance", "none", "kube/config", "mine", "WT"], line) == ["conformance", "mine"]


class Shuffler:
    """Like `--ff`, it has the last word: its own order comes after those of all hooks that are no wrappers."""

    def pytest_configure(self, config: pytest.Config) -> None:
        config.pluginmanager.register(Mixed())


class Mixed:
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, None, None]:
        yield
        wished = ("WT-02", "MTLS-12", "CB-01", "WT-01", "CB-02")
        items[:] = [next(one for one in items if f"[{name}]" in one.name) for name in wished]


def test_checks_of_a_ground_stay_together_and_the_wide_ones_last_whoever_mixes_them(run):
    only = ("--mesh-only", "WT-01,WT-02,CB-01,CB-02,MTLS-12")
    done = run("--mesh", "none", *only, "--collect-only", plugins=(Shuffler(),))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"\[(\w+-\d+)\]", done.stdout) == ["WT-02", "WT-01", "CB-01", "CB-02", "MTLS-12"]


THEIRS = """
import pytest

def test_it(): pass

@pytest.mark.parametrize("mesh", ["istio", "no-mesh"])
def test_of_a_mesh_team(mesh): assert mesh

@pytest.mark.parametrize("mesh_check", ["a", "b"])
def test_by_a_word_of_ours(mesh_check): assert mesh_check in "ab"

class TestTheirs:
    @pytest.fixture
    def mesh_check(self): return "theirs"

    def test_by_a_fixture(self, mesh_check): assert mesh_check == "theirs"
"""


def test_other_peoples_tests_are_left_alone(run, tmp_path):
    (tmp_path / "test_mine.py").write_text(THEIRS)
    done = run(target=(str(tmp_path),))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
    assert not list(tmp_path.glob("meshproof-report"))
