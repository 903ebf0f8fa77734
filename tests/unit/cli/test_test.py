"""`meshproof test` counts what pytest counted, and its exit code tells the truth."""

from __future__ import annotations

import pytest

from meshproof_cli.test import Outcome, counts, exit_code


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
