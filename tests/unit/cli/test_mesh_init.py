"""`meshproof mesh init`: the package it writes is installed as users do it, and judged by its own test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meshproof_cli.mesh import app, skeleton
from reports.errors import UsageProblem

ROOT = Path(__file__).parents[3]


def run(*command: str, path: Path) -> subprocess.CompletedProcess[str]:
    places = os.pathsep.join([str(path), str(ROOT)])
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=180, cwd=path,
        env={**os.environ, "PYTHONPATH": places},
    )  # fmt: skip


def test_what_is_written_works_at_once(tmp_path):
    written, installed = tmp_path / "written", tmp_path / "installed"
    done = CliRunner().invoke(app, ["init", "my-mesh", str(written)])
    assert done.exit_code == 0, done.output
    assert f"  {sys.executable} -m pip install -e {written} && {sys.executable} -m pytest {written}" in done.output
    project = tomllib.loads((written / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []  # a package index may have a meshproof that is not this one
    installed.mkdir()
    command = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target"]
    found = run(*command, str(installed), str(written), path=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    found = run("-m", "meshproof_cli", "list", "meshes", "-o", "json", path=installed)
    assert {"name": "my-mesh", "title": "my-mesh"} in json.loads(found.stdout), found.stderr
    found = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(written / "tests"), path=installed)
    assert "3 passed" in found.stdout, found.stdout + found.stderr


@pytest.mark.parametrize("name", ["My", "a_b", "-a", "a--b", "", "1a"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UsageProblem, match="is no name for a mesh"):
        skeleton(name)


def test_a_known_name_is_refused():
    with pytest.raises(UsageProblem, match="there is an adapter called linkerd already"):
        skeleton("linkerd")


def test_a_word_of_mesh_itself_is_refused():
    with pytest.raises(UsageProblem, match="a word of --mesh itself"):
        skeleton("auto")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("precious")
    done = CliRunner().invoke(app, ["init", "my-mesh", str(tmp_path)])
    assert isinstance(done.exception, UsageProblem)
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]
