"""The workflow to copy: what its form offers is what the command line is given. And of all: what they are made of."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from conformance.profiles import PROFILES
from fixtures.cluster import golang, parts
from fixtures.cluster.parts import PARTS
from fixtures.kube import eventually
from meshproof_cli.plan import Options
from meshproof_cli.run import catalogues, planned

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
FILE = WORKFLOWS / "judge-your-mesh.yml"


@pytest.fixture
def workflow() -> dict[str, Any]:
    # GitHub reads `on` as a word, where YAML 1.1 has a truth value.
    return yaml.load(FILE.read_text(encoding="utf-8"), yaml.BaseLoader)  # type: ignore[no-any-return]


def step(workflow: dict[str, Any], name: str) -> str:
    (found,) = (one["run"] for one in workflow["jobs"]["judge"]["steps"] if one.get("name") == name)
    return str(found)


def test_every_answer_of_the_form_is_used(workflow: dict[str, Any]) -> None:
    for name in workflow["on"]["workflow_dispatch"]["inputs"]:
        (variable,) = (key for key, value in workflow["env"].items() if f"inputs.{name} " in value)
        assert re.search(rf"\$\{{?{variable}\b", FILE.read_text(encoding="utf-8")), name


def test_an_untouched_form_and_a_schedule_judge_everything(workflow: dict[str, Any]) -> None:
    inputs = workflow["on"]["workflow_dispatch"]["inputs"]
    profile = inputs["profile"]["default"]
    assert f"'{profile}'" in workflow["env"]["PROFILE"]
    assert '--profile "$PROFILE"' in step(workflow, "Judge it")
    assert profile in {one.name for one in PROFILES}
    known = catalogues()
    options = Options(context="c", mesh=inputs["mesh"]["default"], profile=profile, disruptive=True)
    assert not inputs["only"]["default"]
    assert set(planned(options, known).selection.ids) == {*known.titles} - known.last


def test_whom_github_gives_no_variables_is_told_where_to_write_what_they_say(workflow: dict[str, Any]) -> None:
    assert workflow["env"]["MESHPROOF"] == "${{ inputs.meshproof || vars.MESHPROOF || '' }}"
    script = step(workflow, "Install meshproof")
    ended = subprocess.run(
        ["bash", "-e", "-c", script], env={"MESHPROOF": ""}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    (line,) = ended.stdout.splitlines()
    assert line.startswith("::error title=No meshproof::Set the repository's variable")
    assert "fork" in line


@pytest.mark.parametrize("name", ["judge-your-mesh", "tests"])
def test_only_a_newer_push_to_the_same_pull_request_ends_a_run(name: str) -> None:
    """Where runs share a group, GitHub drops the one that waits for another's end when a third comes."""
    read = yaml.load((WORKFLOWS / f"{name}.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
    assert read["concurrency"] == {
        "group": "${{ github.workflow }}-${{ github.event_name == 'pull_request' && github.ref || github.run_id }}",
        "cancel-in-progress": "true",
    }


SLOW = """#!/bin/sh
trap 'echo "$*" >told; exit 130' INT
touch began
while :; do sleep 0.1; done
"""


def fake(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o700)


def test_a_run_that_takes_too_long_is_told_to_end_while_the_job_can_keep_what_it_found(
    workflow: dict[str, Any], tmp_path: Path
) -> None:
    script = step(workflow, "Judge it")
    found = re.search(r"--kill-after (\d+) (\d+) ", script)
    assert found
    assert int(found[1]) + int(found[2]) <= 60 * int(workflow["jobs"]["judge"]["timeout-minutes"]) - 600
    fake(tmp_path, "meshproof", SLOW)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KUBECONFIG": "k", "MESH": "m", "PROFILE": "p", "ONLY": "A,B"}
    script = script.replace(f" {found[2]} ", " 3 ")
    ended = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 124
    assert "--mesh m --profile p --only A,B --report-dir" in (tmp_path / "told").read_text()


def test_a_job_that_is_cancelled_tells_the_run(workflow: dict[str, Any], tmp_path: Path) -> None:
    """GitHub sends its signals to the shell of the step, and to nothing that it started."""
    fake(tmp_path, "meshproof", SLOW)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KUBECONFIG": "k", "MESH": "m", "PROFILE": "p", "ONLY": ""}
    with subprocess.Popen(["bash", "-e", "-c", step(workflow, "Judge it")], cwd=tmp_path, env=environment) as shell:
        eventually((tmp_path / "began").exists, timeout=30, what="the run is under way")
        shell.send_signal(signal.SIGINT)
        assert shell.wait(30) == 130
    assert (tmp_path / "told").exists()


GH = """#!/bin/sh
case "$1 $2" in
  "repo view") echo main ;;
  "run list") printf '%s\n' 'pull_request 13' 'push 12' 'schedule 11' ;;
  "run download") [ "$3" = "$HAS_REPORT" ] || exit 1; mkdir -p baseline/r && echo "$3" >baseline/r/results.json ;;
esac
"""


@pytest.mark.parametrize(
    ("has", "told"),
    [("11", "worse than 11"), ("13", "There is no earlier report of main"), ("", "There is no earlier report of main")],
)
def test_a_run_is_compared_with_the_last_that_has_a_report(
    workflow: dict[str, Any], tmp_path: Path, has: str, told: str
) -> None:
    """A run that broke before it judged anything has none; that of a fork's branch called main is none of main's."""
    programs = {
        "gh": GH,
        "meshproof": '#!/bin/sh\n[ "$3" = meshproof-report ] && echo "worse than $(cat "$2")"; exit 1\n',
    }
    for name, text in programs.items():
        fake(tmp_path, name, text)
    summary = tmp_path / "summary"
    (tmp_path / "meshproof-report").mkdir()
    (tmp_path / "meshproof-report" / "results.json").touch()
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_STEP_SUMMARY": str(summary), "HAS_REPORT": has, "GH_REPO": "o/r",
        "WORKFLOW": "judge your mesh",
    }  # fmt: skip
    script = step(workflow, "Compare with the last report of the default branch")
    ended = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=False)
    assert ended.returncode == 0
    assert told in summary.read_text()


OLDEST = {"actions/checkout": 5, "actions/setup-python": 6, "actions/cache": 5, "actions/upload-artifact": 6}
"""Their first versions on Node 24: GitHub takes Node 20 off its runners in the autumn of 2026."""


@pytest.mark.parametrize("file", sorted(WORKFLOWS.glob("*.yml")), ids=lambda file: file.stem)
def test_actions_are_pinned_and_of_versions_that_runners_run(file: Path) -> None:
    used = re.findall(r"uses: (.*)", file.read_text(encoding="utf-8"))
    assert used
    for one in used:
        pinned = re.fullmatch(r"(\S+)@[0-9a-f]{40}  # v(\d+)\.\d+\.\d+", one)
        assert pinned, one
        assert int(pinned[2]) >= OLDEST[pinned[1]], one


@pytest.mark.parametrize("name", ["tests", "nightly"])
def test_what_programs_are_built_from_is_in_the_key_of_their_cache(name: str) -> None:
    """Else a changed source would find the old cache under that very key, and be built anew by every later run."""
    read = yaml.load((WORKFLOWS / f"{name}.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
    (job,) = read["jobs"].values()
    (key,) = (one["with"]["key"] for one in job["steps"] if "actions/cache@" in one.get("uses", ""))
    (files,) = re.findall(r"hashFiles\((.*?)\)", key)
    patterns = [re.sub(r"\*\*$", "**/*", one) for one in re.findall(r"'([^']+)'", files)]
    hashed = {file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()}
    # parts.py has the names, tags and variables, and counts the layout; golang.py names the Go.
    sources = {file for part in PARTS.values() for file in part.source.rglob("*") if file.is_file()}
    assert hashed >= {*sources, Path(parts.__file__), Path(golang.__file__)}
