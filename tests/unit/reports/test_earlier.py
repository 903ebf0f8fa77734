"""What an earlier run left in a report directory is kept apart, and nobody else's files are touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reports.data_files import read_results, write_json
from reports.earlier import BEFORE, put_aside
from reports.errors import UsageProblem
from reports.files import MARKER, mark_directory
from reports.model import Result, Run, Verdict
from reports.writers import write

PASSED = Result("WT-01", "two-way split", "check", "WT", "core", Verdict.PASS, "because")
UNREACHED = replace(PASSED, verdict=Verdict.NOT_RUN)


def run(*found: Result) -> Run:
    return Run("refmesh", "1", "embedded", {}, 1e9, 5.0, (), found, {}, "0.1.0")


def leave(place: Path, started: float, found: Result = PASSED) -> None:
    """A whole report of a run that began then, with a bundle and logs."""
    write(replace(run(found), started=started), place)
    if found is PASSED:
        for inside in ("bundles", "conformance/bundles"):
            (place / inside / "WT-02").mkdir(parents=True)
            (place / inside / "WT-02" / "result.json").touch()
    (place / "cluster-logs").mkdir()


def names(place: Path) -> set[str]:
    return {one.name for one in place.iterdir()}


def began(place: Path) -> float:
    return read_results(place / "results.json").started


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    mark_directory(tmp_path)
    return tmp_path


def test_everything_that_a_run_writes_is_kept_for_one_generation(ours: Path):
    assert put_aside(ours) is None
    for started in (1.0, 2.0):
        leave(ours, started)
        whole = names(ours) - {BEFORE}
        assert put_aside(ours) == ours / BEFORE
        assert names(ours) == {MARKER, BEFORE}
        assert names(ours / BEFORE) == whole
        assert began(ours / BEFORE) == started


def test_a_run_that_judged_nothing_costs_nothing(ours: Path):
    leave(ours, 1.0, UNREACHED)
    put_aside(ours)
    assert "cluster-logs" in names(ours / BEFORE)  # which say why
    leave(ours, 2.0)
    put_aside(ours)
    leave(ours, 3.0, UNREACHED)
    assert put_aside(ours) == ours / BEFORE
    assert names(ours) == {MARKER, BEFORE}
    assert began(ours / BEFORE) == 2.0


@pytest.mark.parametrize("left", ["bundles/WT-01/result.json", "conformance/bundles/WT-01/result.json", "results.json"])
def test_what_a_killed_run_or_another_version_left_is_something(ours: Path, left: str):
    leave(ours, 1.0)
    put_aside(ours)
    (ours / left).parent.mkdir(parents=True, exist_ok=True)
    (ours / left).write_text("{")
    put_aside(ours)
    assert (ours / BEFORE / left).is_file()
    assert not (ours / BEFORE / "report.html").exists()


def test_files_of_others_are_never_touched(ours: Path):
    (ours / "pipeline.log").write_text("theirs")
    (ours / "allure-results").mkdir()
    (ours / "allure-results" / "theirs.json").touch()
    leave(ours, 1.0)
    put_aside(ours)
    assert names(ours) == {MARKER, BEFORE, "pipeline.log", "allure-results"}
    assert (ours / "allure-results" / "theirs.json").exists()


def test_in_a_directory_of_others_only_what_is_surely_ours_is_moved(tmp_path: Path):
    (tmp_path / "conformance").mkdir()
    (tmp_path / "bundles" / "app.js").mkdir(parents=True)
    (tmp_path / "badge.svg").write_text("<svg>coverage</svg>")
    theirs = names(tmp_path)
    assert put_aside(tmp_path) is None
    write(run(PASSED), tmp_path, ["json", "yaml", "junit", "html", "github", "allure"])
    (tmp_path / "bundles" / "WT-01").mkdir()
    (tmp_path / "bundles" / "WT-01" / "result.json").touch()
    put_aside(tmp_path)
    assert names(tmp_path) == {*theirs, BEFORE}
    assert names(tmp_path / "bundles") == {"app.js"}
    assert names(tmp_path / BEFORE / "bundles") == {"WT-01"}


def test_a_folder_of_others_that_is_in_the_way_is_one_sentence(tmp_path: Path):
    (tmp_path / BEFORE).mkdir()
    (tmp_path / BEFORE / "theirs").touch()
    write_json(run(PASSED), tmp_path)
    with pytest.raises(UsageProblem, match="before holds files that are not an earlier report"):
        put_aside(tmp_path)
    assert names(tmp_path) == {BEFORE, "results.json"}
