"""What trials add up to, and the pages that say so."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

import reports
from reports.errors import UsageProblem
from reports.kill_matrix import kill_matrix_html, kill_matrix_markdown, write_kill_matrix
from reports.model import Verdict
from reports.rates import interval, upper_bound
from reports.schemas import KILL_MATRIX, first_flaw
from reports.sensitivity import CheckInfo, Matrix, Outcome, Subject, Trial, matrix_json, read_matrix

CHECKS = (CheckInfo("WT-01", "two-way <b>", "WT"), CheckInfo("WT-02", "zero", "WT"), CheckInfo("CB-01", "cut", "CB"))
OFF = Subject("off", "defect", "weights", "five | points <off>", "m:f")
OPEN = Subject("open", "defect", "circuit-breaking", "limits")
DEAD = Subject("dead", "defect", "weights", "does not start")
NEW = Subject("new", "defect", "weights", "waits")
SAME = Subject("same", "equivalent", "equivalent", "order")
RUNS = tuple(Subject(f"clean-{number}", "clean", "clean") for number in (1, 2, 3))
PASS, FAIL = Verdict.PASS, Verdict.FAIL
TRIALS = (
    Trial(OFF, {"WT-01": PASS}, affected=("WT",)),
    Trial(OFF, {"WT-01": FAIL, "WT-02": PASS}, {"WT-01": "85 % instead of 90 %"}, ("WT",), 12.0),
    Trial(OPEN, {"WT-01": PASS, "WT-02": Verdict.INCONCLUSIVE, "CB-01": PASS}, affected=("CB",)),
    Trial(DEAD, {}, problem="it does not serve"),
    Trial(SAME, {"WT-01": PASS, "WT-02": FAIL, "CB-01": PASS}),
    *(Trial(one, dict.fromkeys(("WT-01", "WT-02", "CB-01"), PASS), seed=1) for one in RUNS),
)
MATRIX = Matrix("refmesh", "0.1", CHECKS, (OFF, OPEN, DEAD, NEW, SAME, *RUNS), TRIALS)


def test_the_latest_trial_counts_and_every_subject_has_its_outcome():
    assert [MATRIX.outcome(one) for one in MATRIX.subjects] == [
        Outcome.KILLED, Outcome.SURVIVED, Outcome.BROKEN, Outcome.OPEN, Outcome.FALSE_ALARM, *[Outcome.QUIET] * 3,
    ]  # fmt: skip
    assert MATRIX.survivors == (OPEN,)
    assert MATRIX.capabilities == (("weights", 3, 1, 1), ("circuit-breaking", 1, 1, 0))
    assert MATRIX.kills == {"WT-01": ("off",), "WT-02": (), "CB-01": ()}
    assert [one.id for one in MATRIX.idle] == ["WT-02", "CB-01"]
    assert MATRIX.false_alarms == ((SAME, ("WT-02",)),)


def test_what_clean_runs_prove():
    assert MATRIX.quiet_runs == (0, 3)
    assert "0 of 3 clean runs had a failure" in MATRIX.proof
    assert "at most 63 %" in MATRIX.proof  # 1 - 0.05^(1/3)
    assert "nothing is known" in replace(MATRIX, trials=()).proof


def test_what_was_not_decided_is_said_and_not_counted():
    verdicts = {"WT-01": PASS, "WT-02": Verdict.INCONCLUSIVE, "CB-01": Verdict.UNSUPPORTED}
    still = replace(MATRIX, trials=(*TRIALS, Trial(RUNS[1], verdicts)))
    assert "(0 of 7 verdicts). No verdict was reached, and none is counted, in clean-2: WT-02." in still.proof
    assert still.undecided == ((RUNS[1], ("WT-02",)),)
    text = kill_matrix_markdown(still)
    assert "| `clean-2` | quiet |  | No verdict: WT-02. |" in text
    assert "| verdicts not reached on sound meshes | 1 |" in text
    assert "(0 of 9 verdicts)." in MATRIX.proof


def test_a_check_that_only_failed_at_its_gate_is_named():
    gate = "the mark: not within 10 s (131 attempts; last: False)"
    shut = Trial(OFF, {"WT-01": FAIL, "WT-02": FAIL}, {"WT-01": gate, "WT-02": "85 % instead of 90 %"})
    both = replace(MATRIX, trials=(shut,))
    assert [one.id for one in both.gated] == ["WT-01"]
    assert "WT-01 found theirs at the gate alone" in both.reach
    elsewhere = Trial(OPEN, {"WT-01": FAIL}, {"WT-01": "85 % instead of 90 %"})
    assert replace(MATRIX, trials=(shut, elsewhere)).gated == ()
    assert "| of these, only at their gate | 1 |" in kill_matrix_markdown(both)


def test_only_the_latest_trial_of_a_subject_here_raises_an_alarm():
    bad = Trial(RUNS[0], {"WT-01": FAIL}, {"WT-01": "r"}, image="old")
    mended = replace(MATRIX, trials=(bad, *TRIALS[-3:]))
    assert (mended.quiet_runs, mended.false_alarms) == ((0, 3), ())
    assert "builds" not in mended.proof
    again = replace(MATRIX, trials=(*TRIALS[-3:], bad))
    assert again.quiet_runs == (1, 3)
    assert "The clean runs are of 2 builds." in again.proof
    fewer = replace(again, subjects=RUNS[1:])
    assert (fewer.quiet_runs, fewer.false_alarms) == ((0, 2), ())


def test_a_trial_that_broke_off_missed_nothing():
    aimed = replace(DEAD, aims=("WT-01", "WT-02"), says="dead")
    broken = Trial(aimed, {"WT-01": PASS}, problem="it does not serve")
    assert replace(MATRIX, subjects=(aimed,), trials=(broken,)).missed == ()
    found = replace(broken, verdicts={"WT-01": FAIL}, reasons={"WT-01": "it is dead"})
    assert replace(MATRIX, subjects=(aimed,), trials=(found,)).missed == ()
    other = replace(found, verdicts={"WT-01": FAIL, "WT-02": FAIL}, reasons={"WT-01": "dead", "WT-02": "another"})
    assert replace(MATRIX, subjects=(aimed,), trials=(other,)).missed == ((aimed, ("WT-02",)),)


def test_what_was_not_tried_is_counted():
    text = kill_matrix_markdown(replace(MATRIX, subjects=(SAME, replace(SAME, name="twin"))))
    assert "| equivalents flagged, of those tried | 1 of 1 |" in text
    assert "| equivalents not tried, or broke off | 1 of 2 |" in text


def test_what_short_trials_leave_open():
    assert MATRIX.reach.startswith("In 1 of 2 trials only some checks were asked")
    whole = replace(MATRIX, trials=TRIALS[2:])
    assert whole.reach == ""
    mixed = replace(whole, trials=(*whole.trials, replace(TRIALS[2], subject=OFF, image="other")))
    assert mixed.reach == "The trials are of 2 builds."
    assert MATRIX.reach in kill_matrix_markdown(MATRIX)
    assert MATRIX.reach in kill_matrix_html(MATRIX)


def test_a_rate_of_false_alarms_of_another_build_says_so():
    def of(*images: str) -> Matrix:
        clean = tuple(replace(one, image=image) for one, image in zip(TRIALS[-3:], images, strict=True))
        return replace(MATRIX, trials=(*TRIALS[:-3], *clean))

    assert "The clean runs are" not in MATRIX.proof
    assert of("new", "new", "new").proof.endswith(" The clean runs are of a build on which no defect was tried.")
    assert of("new", "new", "old").proof.endswith(" are of 2 builds, on none of which a defect was tried.")
    assert of("new", "new", "").proof.endswith(" The clean runs are of 2 builds.")
    assert of("new", "old", "").reach.endswith("the trials are of 3 builds.")


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_bounds_are_the_exact_ones(events, trials, confidence):
    if events > trials:
        with pytest.raises(ValueError, match="no count"):
            upper_bound(events, trials, confidence)
        return
    exact = 1.0 if events == trials else float(beta.ppf(confidence, events + 1, trials - events))
    assert upper_bound(events, trials, confidence) == pytest.approx(exact, abs=1e-9)
    low, high = interval(events, trials, confidence)
    tail = (1 - confidence) / 2
    assert low == pytest.approx(0 if not events else float(beta.ppf(tail, events, trials - events + 1)), abs=1e-9)
    assert high == pytest.approx(
        1 if events == trials else float(beta.ppf(1 - tail, events + 1, trials - events)), abs=1e-9
    )


def test_thirty_clean_runs():
    assert upper_bound(0, 30) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert upper_bound(0, 0) == 1.0


def test_json_there_and_back():
    document = json.loads(json.dumps(matrix_json(MATRIX), allow_nan=False))
    assert read_matrix(document) == MATRIX
    assert first_flaw(document, KILL_MATRIX) is None
    assert first_flaw({**document, "trials": [{"subject": {}}]}, KILL_MATRIX) is not None
    assert document["summary"]["survivors"] == ["open"]
    assert document["summary"]["idle checks"] == ["WT-02", "CB-01"]
    with pytest.raises(UsageProblem, match="not in the format"):
        read_matrix({**document, "schema": "other"})
    with pytest.raises(UsageProblem, match="no kill matrix"):
        read_matrix({**document, "checks": [{"id": "x"}]})
    with pytest.raises(UsageProblem, match="no trial"):
        read_matrix({**document, "trials": [{"subject": {}}]})


class Page(html.parser.HTMLParser):
    """Counts rows, and finds tags left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outcomes: list[str] = []
        self.hits = 0
        self.requests: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in {"meta", "input", "br"}:
            self.open.append(tag)
        if tag == "tr" and "data-outcome" in found:
            self.outcomes.append(found["data-outcome"])
        self.hits += tag == "td" and found.get("class") in {"hit", "alarm"}
        self.requests += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_shows_every_trial_and_asks_nobody():
    page = Page(kill_matrix_html(MATRIX))
    assert page.open == []
    assert page.outcomes == ["killed", "broken", "open", "survived", "false alarm", "quiet", "quiet", "quiet"]
    assert page.hits == 2
    assert page.requests == []
    text = kill_matrix_html(MATRIX)
    assert "five | points &lt;off&gt;" in text
    assert "85 % instead of 90 %" in text
    assert "two-way <b>" not in text


def test_what_a_check_said_is_told_without_a_pointer_too():
    text = re.sub(r' title="[^"]*"', "", kill_matrix_html(MATRIX))
    assert "<p>five | points &lt;off&gt;</p><p>WT-01 failed: it found the defect: 85 % instead of 90 %</p>" in text
    assert "<p>CB-01 passed</p>" not in text


def test_an_empty_matrix_is_a_page_too():
    assert Page(kill_matrix_html(Matrix("refmesh", "0", (), (), ()))).outcomes == []


def test_markdown_keeps_its_columns():
    text = kill_matrix_markdown(MATRIX)
    assert "| `off` | killed | WT-01 | five \\| points <off> |" in text
    assert "| `dead` | broken |  | it does not serve |" in text


def test_three_files(tmp_path):
    assert write_kill_matrix(MATRIX, tmp_path / "r").read_text() == kill_matrix_html(MATRIX)
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "kill-matrix.html", "kill-matrix.md", "kill-matrix.json",
    }  # fmt: skip


def test_the_published_pages_are_what_their_trials_render_to(tmp_path):
    published = Path(reports.__file__).parent
    matrix = read_matrix(json.loads((published / "kill-matrix.json").read_text()))
    write_kill_matrix(matrix, tmp_path)
    for name in ("kill-matrix.json", "kill-matrix.md", "kill-matrix.html"):
        assert (tmp_path / name).read_text() == (published / name).read_text(), f"render {name} again"
