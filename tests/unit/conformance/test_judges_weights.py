from __future__ import annotations

import random

import pytest

from conformance.checks.weights import Split, judge_nothing_else, judge_split
from conformance.statistics import fixed_samples
from reports.model import Verdict

TWO = {"v1": 90, "v2": 10}


def answers(shares: dict[str, float], total: int, seed: int = 1) -> tuple[str, ...]:
    return tuple(random.Random(seed).choices(list(shares), list(shares.values()), k=total))


def split(declared, seen) -> Split:
    return Split(declared, tuple(seen), alpha=1e-5)


@pytest.mark.parametrize("judge", [judge_split, judge_nothing_else])
def test_no_data_is_never_a_pass(judge):
    assert judge(split(TWO, ())).verdict is Verdict.INCONCLUSIVE


def test_the_declared_split_passes_and_says_its_error_rates():
    judged = judge_split(split(TWO, answers({"v1": 90, "v2": 10}, 2000)))
    assert judged.verdict is Verdict.PASS
    (rate,) = judged.error_rates
    assert (rate.alpha, rate.beta, rate.samples) == (1e-5, 1e-3, 2000)
    assert "5 points" in rate.detectable


@pytest.mark.parametrize("seed", range(20))
def test_five_points_off_are_found(seed):
    total = 3 * fixed_samples(0.9, 0.05, 1e-5, 1e-3)
    assert judge_split(split(TWO, answers({"v1": 85, "v2": 15}, total, seed))).verdict is Verdict.FAIL
    assert judge_split(split(TWO, answers({"v1": 95, "v2": 5}, total, seed))).verdict is Verdict.FAIL


def test_a_share_that_is_off_is_told_by_the_ratio_that_decided():
    """By no p-value: the sample ended because of what was seen."""
    judged = judge_split(split(TWO, ["v1"] * 800 + ["v2"] * 200))
    # (0.85 / 0.9)^800 * (0.15 / 0.1)^200, and 2 / 1e-5
    assert judged.reason.endswith("(10^15.4 times as likely with shares off by at most 5 points; 10^5.3 decides)")


def test_plain_kubernetes_fails():
    thirds = answers({"v1": 1, "v2": 1, "v3": 1}, 1000)
    assert judge_split(split(TWO, thirds)).verdict is Verdict.FAIL
    assert judge_split(split({"v1": 70, "v2": 20, "v3": 10}, thirds)).verdict is Verdict.FAIL
    assert judge_nothing_else(split({"v1": 50, "v2": 50}, thirds)).verdict is Verdict.FAIL
    assert judge_nothing_else(split({"v1": 100, "v2": 0}, answers({"v1": 1, "v2": 1}, 1000))).verdict is Verdict.FAIL


def test_too_few_decide_nothing():
    assert judge_split(split(TWO, answers({"v1": 90, "v2": 10}, 50))).verdict is Verdict.INCONCLUSIVE
    assert judge_nothing_else(split({"v1": 100, "v2": 0}, ["v1"] * 100)).verdict is Verdict.INCONCLUSIVE


def test_late_requests_leave_the_shares_unproven():
    seen = [*answers({"v1": 90, "v2": 10}, 2000), "error: timeout"]
    assert judge_split(split(TWO, seen)).verdict is Verdict.INCONCLUSIVE
    assert judge_nothing_else(split({"v1": 100}, ["v1"] * 900 + ["error: timeout"])).verdict is Verdict.INCONCLUSIVE
    assert judge_split(split(TWO, ["error: timeout"] * 100)).verdict is Verdict.FAIL
    far = [*answers({"v1": 65, "v2": 35}, 2000), "error: timeout"]  # off, whoever the late one was for
    assert judge_split(split(TWO, far)).verdict is Verdict.FAIL


@pytest.mark.parametrize("lost", ["error: 503", "error: reset", "error: timeout"])
def test_a_backend_that_loses_its_whole_share_fails(lost):
    judged = judge_split(split(TWO, [lost if one == "v2" else one for one in answers({"v1": 90, "v2": 10}, 2000)]))
    assert judged.verdict is Verdict.FAIL
    assert lost.removeprefix("error: ") in judged.reason
    assert judge_nothing_else(split({"v1": 100}, ["v1"] * 900 + [lost] * 100)).verdict is Verdict.FAIL


@pytest.mark.parametrize("lost", ["error: 503", "error: reset"])
def test_one_request_without_an_answer_fails_unless_it_was_late(lost):
    assert judge_nothing_else(split({"v1": 100}, ["v1"] * 900 + [lost])).verdict is Verdict.FAIL


def test_one_stray_answer_is_enough():
    seen = ["v1"] * 700
    assert judge_nothing_else(split({"v1": 100, "v2": 0}, seen)).verdict is Verdict.PASS
    assert judge_nothing_else(split({"v1": 100, "v2": 0}, [*seen, "v2"])).verdict is Verdict.FAIL
    assert judge_nothing_else(split({"v1": 50, "v2": 50}, seen)).verdict is Verdict.FAIL  # v2 has a share, got nothing
    assert judge_split(split(TWO, [*answers({"v1": 90, "v2": 10}, 2000), "v3"])).verdict is Verdict.FAIL
