from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.experiments import EXPERIMENTS
from chaos.judging import judged, no_added_errors
from chaos.model import Attempt, History, Marks
from reports.model import Verdict
from tests.unit.chaos.helpers import (
    ENDED,
    INJECTED,
    START,
    UNDONE,
    frozen,
    history,
    refusals,
    replaced,
    sample,
    traffic,
)

judge = judged(no_added_errors)
EMPTY = History((), (), Marks(0, 0, None, 0, None, 0), "")


def test_calm_passes():
    judgement = judge(history())
    assert judgement.verdict is Verdict.PASS
    assert "none of 600" in judgement.reason


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_nothing_recorded_is_inconclusive_everywhere(experiment):
    assert experiment.judge(EMPTY).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_a_fault_that_did_not_land_is_never_a_pass(experiment):
    judgement = experiment.judge(history(landed="", facts={"killed": "echo-1", "timeout seconds": 0.5}))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "did not land" in judgement.reason


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
@pytest.mark.parametrize("landed", ["", "it shows"])
def test_a_breach_fails_everywhere_even_without_traffic(experiment, landed):
    breach = (*refusals(), Attempt(INJECTED + 1, "plaintext", True, True, "HTTP/1.1 200 OK"))
    judgement = experiment.judge(history(samples=(), attempts=breach, landed=landed))
    assert judgement.verdict is Verdict.FAIL
    assert "plaintext" in judgement.reason


def test_one_added_error_fails():
    bad = replaced(traffic(), INJECTED + 1, INJECTED + 1.005, status=503)
    judgement = judge(history(samples=bad))
    assert judgement.verdict is Verdict.FAIL
    assert "1 of 600" in judgement.reason


def test_an_error_while_the_fault_is_taken_back_counts():
    bad = replaced(traffic(), UNDONE + 0.1, UNDONE + 0.105, error="reset")
    assert judge(history(samples=bad)).verdict is Verdict.FAIL


def test_what_the_cluster_does_to_the_experiments_own_pods_fails_no_mesh():
    bad = replaced(traffic(), INJECTED + 1, INJECTED + 1.005, status=503)
    judgement = judge(history(samples=bad, strays=("echo-2 was taken away",)))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "echo-2 was taken away" in judgement.reason
    assert judge(history(strays=("echo-2 was taken away",))).verdict is Verdict.PASS
    breach = (*refusals(), Attempt(INJECTED + 1, "plaintext", True, True, "HTTP/1.1 200 OK"))
    assert judge(history(attempts=breach, strays=("echo-2 was taken away",))).verdict is Verdict.FAIL


def test_a_container_that_ended_meanwhile_is_told_and_excuses_nobody():
    bad = replaced(traffic(), INJECTED + 1, INJECTED + 1.005, status=503)
    how = ("container proxy of echo-2 ended: OOMKilled, exit code 137",)
    judgement = judge(history(samples=bad, crashes=how))
    assert judgement.verdict is Verdict.FAIL
    assert judgement.reason == f"1 of 600 requests failed from the fault on; meanwhile {how[0]}"
    assert judge(history(crashes=how)).verdict is Verdict.PASS
    excused = judge(history(samples=bad, crashes=how, strays=("echo-1 was taken away (Evicted)",)))
    assert excused.verdict is Verdict.INCONCLUSIVE


def test_errors_before_the_fault_leave_nothing_to_judge():
    bad = replaced(traffic(), START, START + 0.02, error="refused")
    assert judge(history(samples=bad)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "given_samples",
    [
        (),
        traffic(START, INJECTED),
        traffic(INJECTED, ENDED),
        traffic(rate=10),
        traffic(START, INJECTED) + traffic(UNDONE, ENDED),
    ],
    ids=["none", "none after", "none before", "few", "none during"],
)
def test_too_little_traffic_is_inconclusive(given_samples):
    assert judge(history(samples=given_samples)).verdict is Verdict.INCONCLUSIVE


def pulse(late):
    return tuple((START + index * 0.05, late) for index in range(160))


def test_a_failure_on_a_machine_without_time_is_not_blamed_on_the_mesh():
    bad = replaced(traffic(), INJECTED + 1, INJECTED + 2, error="timeout")
    assert judge(history(samples=bad, pulse=pulse(0.002))).verdict is Verdict.FAIL
    busy = judge(history(samples=bad, pulse=pulse(0.050)))
    assert busy.verdict is Verdict.INCONCLUSIVE
    assert "too busy" in busy.reason
    assert judge(history(pulse=pulse(0.050))).verdict is Verdict.PASS


def test_a_busy_machine_excuses_no_breach():
    breach = (*refusals(), Attempt(INJECTED + 1, "plaintext", True, True, "HTTP/1.1 200 OK"))
    assert judge(history(attempts=breach, pulse=pulse(0.050))).verdict is Verdict.FAIL


def test_traffic_that_stands_still_and_loses_nothing_does_not_go_on():
    judgement = judge(history(samples=frozen(traffic(), INJECTED + 0.2, INJECTED + 4.8)))
    assert judgement.verdict is Verdict.FAIL
    assert "no request was served from 0.2 to 4.8 s after the fault" in judgement.reason
    assert judge(history(samples=frozen(traffic(), INJECTED + 0.2, INJECTED + 1.1))).verdict is Verdict.PASS
    never = tuple(s for s in traffic() if s.intended < INJECTED + 3) + tuple(
        sample(s.intended, took=60.0) for s in traffic(INJECTED + 3, ENDED)
    )
    assert judge(history(samples=never)).verdict is Verdict.FAIL


def test_a_standstill_of_the_machine_is_not_the_meshs():
    still = frozen(traffic(), INJECTED + 0.2, INJECTED + 2.2)
    stood = (*pulse(0.002), (INJECTED + 0.3, 1.9))
    judgement = judge(history(samples=still, pulse=stood))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "the machine itself stood still for" in judgement.reason
    longer = frozen(traffic(), INJECTED + 0.2, INJECTED + 3.9)
    assert judge(history(samples=longer, pulse=stood)).verdict is Verdict.FAIL


def test_an_answer_later_than_the_client_waits_is_lost_from_when_the_request_was_due():
    def one_late(pulse=()):
        late = replace(sample(INJECTED + 0.1, took=2.1), start=INJECTED + 3.1)
        return judge(history(samples=(*traffic(), late), pulse=pulse))

    assert one_late().verdict is Verdict.FAIL
    assert "1 of 601" in one_late().reason
    assert one_late(pulse=(*pulse(0.002), (INJECTED + 0.1, 0.5))).verdict is Verdict.PASS  # late by the driver alone


def test_no_recovery_fails():
    judgement = judge(history(recovered=None))
    assert judgement.verdict is Verdict.FAIL
    assert "steady" in judgement.reason


def test_a_pod_that_starts_slowly_is_no_fault_of_the_mesh():
    judgement = judge(history(recovered=None, steady=UNDONE, ready=None, ended=UNDONE + 60, awaited="the pod"))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "the pod was not ready within 60 s" in judgement.reason
    assert judge(history(recovered=None, steady=None, ready=None)).verdict is Verdict.FAIL


def test_a_fault_that_somebody_put_right_is_never_a_pass():
    judgement = judge(history(held=False))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "did not stay" in judgement.reason


@pytest.mark.parametrize(
    "attempts",
    [
        (),
        refusals(START, INJECTED),
        refusals(UNDONE + 0.1, ENDED),
        tuple(replace(a, reached=False) for a in refusals()),
        refusals()[::3],
    ],
    ids=["none", "only before", "only after", "never reached", "one attack only"],
)
def test_untested_safety_is_inconclusive(attempts):
    assert judge(history(attempts=attempts)).verdict is Verdict.INCONCLUSIVE


times = st.floats(START - 5, ENDED + 5)
samples = st.lists(
    st.builds(
        sample,
        times,
        took=st.floats(0, 9),
        status=st.sampled_from([200, 404, 503, 504]),
        error=st.sampled_from([None, None, "reset", "timeout"]),
        pod=st.sampled_from(["echo-1", "echo-2"]),
    ),
    max_size=300,
)
attempts = st.lists(
    st.builds(
        Attempt, times, st.sampled_from(["plaintext", "tls"]), st.booleans(), st.just(False), st.text(max_size=5)
    ),
    max_size=30,
)


@settings(deadline=None)
@given(
    samples,
    attempts,
    st.sampled_from(["", "it shows"]),
    st.none() | st.floats(INJECTED, UNDONE),
    st.none() | st.floats(UNDONE, ENDED),
)
def test_judges_never_crash_and_never_pass_what_did_not_land(some, tried, landed, landed_at, recovered):
    facts = {"killed": "echo-1", "timeout seconds": 0.5}
    one = history(
        samples=tuple(sorted(some, key=lambda s: s.intended)),
        attempts=tuple(tried),
        landed=landed,
        facts=facts,
        recovered=recovered,
    )
    one = replace(one, marks=replace(one.marks, landed=landed_at))
    for experiment in EXPERIMENTS.values():
        judgement = experiment.judge(one)
        assert judgement.verdict in {Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE}
        assert landed or judgement.verdict is not Verdict.PASS


@settings(deadline=None)
@given(samples)
def test_more_errors_never_turn_a_fail_into_a_pass(some):
    before = traffic(START, INJECTED)
    after = tuple(s for s in some if INJECTED <= s.intended < ENDED)
    worse = tuple(sample(s.intended, error="reset") for s in after)
    if after:
        assert judge(history(samples=before + traffic(INJECTED, ENDED) + worse)).verdict is Verdict.FAIL
