"""What the suite's process comes to: its exit code and its results.json have to agree with what was asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from conformance.outcomes import UNREACHED
from meshproof_cli.suite import BrokenOff, Suite, judge
from reports.data_files import json_text
from reports.errors import UsageProblem
from reports.model import Result, Run, Verdict

CHILD = """
import pathlib, sys
code, text, place = sys.argv[1:]
pathlib.Path(place).write_text(text) if text else None
print("INTERNALERROR> KeyError: 'x'" if code == "3" else "collected 2 items")
print("2 passed in 1 s")
sys.exit(int(code))
"""
PASS = {"WT-01": ""}
CUT = {"WT-01": "", "WT-02": f"{UNREACHED}: stopping after 1 failures"}


def results(found: dict[str, str]) -> str:
    """A results.json: of each id why it was not run, or "" for a pass."""
    made = tuple(
        Result(name, "t", "check", "WT", "core", Verdict.NOT_RUN if why else Verdict.PASS, why or "fine")
        for name, why in found.items()
    )
    return json_text(Run("m", "1", "c", {}, 0.0, 1.0, (), made, {}, "0"))


BOTH = results({"WT-01": "", "WT-02": ""})


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite("m", (), "i", ("WT-01", "WT-02"), tmp_path)


def ends(suite: Suite, monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    line = [sys.executable, "-c", CHILD, str(code), text, str(suite.directory / "results.json")]
    monkeypatch.setattr(Suite, "command", property(lambda _: line))


@pytest.mark.parametrize("code", [0, 1])
def test_whole_results_are_taken(suite: Suite, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    ends(suite, monkeypatch, code, results({"WT-01": "", "WT-02": ""}))
    assert [one.id for one in judge(suite, lambda _: None).results] == ["WT-01", "WT-02"]


@pytest.mark.parametrize(
    ("code", "found", "said"),
    [
        (3, {"WT-01": "", "WT-02": ""}, "broke off: KeyError: 'x'"),
        (2, CUT, "broke off: 2 passed in 1 s"),
        (1, PASS, "has no result of WT-02"),
        (0, PASS, "has no result of WT-02"),
    ],
)
def test_what_is_missing_breaks_off(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, code: int, found: dict[str, str], said: str
) -> None:
    ends(suite, monkeypatch, code, results(found))
    with pytest.raises(BrokenOff) as caught:
        judge(suite, lambda _: None)
    assert said in caught.value.problem
    assert [one.id for one in caught.value.results] == [name for name, why in found.items() if not why]


def test_what_pods_wait_for_is_told_beside_what_is_done(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = "rt: waiting for the image i (ErrImagePull: 429)"
    lines = ["[gw0] PASSED test_mesh.py::test[WT-01]", waits, "E   rt: waiting for the image i"]
    child = f"import pathlib; print({chr(10).join(lines)!r}); pathlib.Path('results.json').write_text({BOTH!r})"
    monkeypatch.setattr(Suite, "command", property(lambda _: [sys.executable, "-c", child]))
    told: list[str] = []
    judge(suite, told.append)
    assert told == ["1 of 2 checks, WT-01 done", f"1 of 2 checks, {waits}"]


def test_an_end_after_the_first_failure_is_none_where_it_was_asked_for(
    suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Suite("m", (), "i", suite.ids, suite.directory, flags=("-x",))
    ends(first, monkeypatch, 2, results(CUT))
    assert [one.verdict for one in judge(first, lambda _: None).results] == [Verdict.PASS, Verdict.NOT_RUN]


def test_a_refusal_is_the_users_mistake(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(suite, monkeypatch, 4, "")
    with pytest.raises(UsageProblem, match="refused to start"):
        judge(suite, lambda _: None)
