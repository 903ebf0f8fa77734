"""`meshproof test` counts what pytest counted, and its exit code tells the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshproof_cli import test as command
from meshproof_cli.test import Outcome, counts, exit_code, own_tests
from reports.errors import UsageProblem


def test_counts_come_from_the_junit_file_and_errors_are_failures() -> None:
    text = '<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>'
    assert counts(text) == (3, 3, 3)
    assert counts('<testsuites><testsuite tests="2"/><testsuite tests="1" skipped="1"/></testsuites>') == (2, 0, 1)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome("a", passed=1)], 0),
        ([Outcome("a", passed=1), Outcome("b", passed=3, failed=1)], 1),
        ([Outcome("a", passed=1), Outcome("b", blocked=True, why="not root")], 3),
        ([Outcome("a", skipped=4)], 3),
        ([Outcome("a", passed=1, skipped=2)], 0),
        ([], 3),
    ],
)
def test_the_exit_code_is_zero_only_if_all_that_was_asked_for_ran_and_passed(
    outcomes: list[Outcome], code: int
) -> None:
    assert exit_code(outcomes) == code


def test_an_installed_meshproof_does_not_run_the_tests_of_other_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tests").mkdir()
    monkeypatch.setattr(command, "_ROOT", tmp_path)
    with pytest.raises(UsageProblem, match="installed without its tests"):
        own_tests()


def test_a_github_job_changes_nothing_for_the_tests() -> None:
    """What makes rich and typer write escape codes is gone before the first of them is imported."""
    tests = Path(__file__).with_name("test_command_line.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "-k", "wrong_word and seed or error0"],
        env={**os.environ, "CI": "true", "FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"},
        cwd=tests.parents[3], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
