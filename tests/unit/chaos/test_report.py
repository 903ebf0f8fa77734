from dataclasses import replace

import pytest

from chaos.cli import Output, _print
from chaos.experiment import Experiment
from chaos.experiments import EXPERIMENTS
from chaos.report import result_of, without_history
from chaos.suite import catalogue
from reports.html import figures, html_text, phases
from reports.model import PHASES, Run, Verdict, result_from_json, result_to_json
from tests.unit.chaos.helpers import AWAY, INJECTED, UNDONE, history, refusals, replaced, traffic


def test_a_result_carries_figures_plot_and_reproduction():
    result = result_of(EXPERIMENTS["C1"], history(facts=AWAY))
    assert result.verdict is Verdict.PASS
    assert result.plots[0].kind == "timeline"
    assert result.metrics["success_during"] == 1
    assert [len(values) for _, values, _ in phases(result.metrics)] == [len(PHASES)] * 4
    assert {("to steady traffic", "0 s"), ("to recover", "0.3 s")} <= set(figures(result.metrics))
    assert result.reproduce == ""  # a command that does not name the cluster would break another one
    assert result_from_json(result_to_json(result)).metrics == result.metrics


def test_every_phase_is_in_the_table_and_on_the_page(capsys, monkeypatch):
    slow = replaced(traffic(), UNDONE, UNDONE + 0.3, took=0.9)
    results = (result_of(EXPERIMENTS["C1"], history(samples=slow, facts=AWAY)),)
    page = html_text(Run("m", "", "", {}, 0, 0, (), results, {}, ""))
    for phase in PHASES:
        assert f'<th class="num">{phase}</th>' in page
    monkeypatch.setenv("COLUMNS", "200")
    _print(results, Output.TABLE)
    told = capsys.readouterr().out
    assert "/".join(PHASES) in told
    assert "5/5/900/5" in told


def test_a_result_says_of_what_its_percentiles_are():
    for cuts, words in ((False, "of the requests served"), (True, "of all requests, also those cut off")):
        evidence = result_of(EXPERIMENTS["N1"], history(cuts=cuts, facts={"timeout seconds": 1})).evidence
        assert [one.data for one in evidence if one.title == "percentiles"] == [words]


def test_a_judge_that_crashes_judged_nothing():
    def crash(_):
        raise ZeroDivisionError("oops")

    whole = EXPERIMENTS["C1"]
    broken = Experiment(whole.id, whole.title, whole.hypothesis, whole.fault, whole.prepare, crash)
    result = result_of(broken, history())
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "crashed" in result.reason
    assert any("ZeroDivisionError" in str(e.data) for e in result.evidence)


def test_an_empty_history_can_be_reported():
    result = result_of(EXPERIMENTS["P1"], history(samples=(), attempts=(), landed=""))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "never refused" in result.error_rates[0].detectable
    sham = result_of(EXPERIMENTS["A1"], history(samples=(), attempts=(), landed=""))
    assert "no request" in sham.error_rates[0].detectable


def test_the_least_tried_attack_decides_what_bypass_would_be_seen():
    few = tuple(one for one in refusals() if one.attack != "plaintext" or one.at < INJECTED + 1)
    rate = result_of(EXPERIMENTS["C1"], history(attempts=few)).error_rates[-1]
    assert rate.samples == sum(one.attack == "plaintext" and INJECTED <= one.at <= UNDONE for one in few)
    assert f"{3 / rate.samples:.1%}" in rate.detectable


@pytest.mark.parametrize("name", ["P1", "N1"])
def test_where_requests_may_fail_no_error_rate_is_claimed(name):
    rates = result_of(EXPERIMENTS[name], history(facts={"timeout seconds": 1})).error_rates
    assert not any("no error" in one.test for one in rates)


def test_the_sham_is_right_when_inconclusive():
    result = result_of(EXPERIMENTS["A1"], history(landed=""))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.right
    assert not result.unproven


def test_the_sham_is_not_right_because_the_judge_crashed_or_the_fault_showed():
    def crash(_):
        raise ZeroDivisionError("oops")

    for result in (
        result_of(replace(EXPERIMENTS["A1"], judge=crash), history(landed="")),
        result_of(EXPERIMENTS["A1"], history(samples=())),
        result_of(EXPERIMENTS["A1"], history(landed="", unasked="OSError: no route")),
    ):
        assert result.verdict is Verdict.NOT_RUN
        assert result.unproven


def test_what_was_not_run_says_why():
    result = without_history(EXPERIMENTS["N1"], Verdict.NOT_RUN, "no mesh", 1.0, 0.0)
    assert (result.verdict, result.reason) == (Verdict.NOT_RUN, "no mesh")


def test_the_catalogue_lists_experiments_and_faults():
    found = catalogue()
    assert [e["id"] for e in found.experiments] == ["C1", "P1", "N1", "A1"]
    assert {e["fault"] for e in found.experiments} <= {f["name"] for f in found.faults}
