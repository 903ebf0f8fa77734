from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.experiment import NotHere
from chaos.experiments import EXPERIMENTS, n1, p1
from chaos.model import Marks
from chaos.settings import Settings
from conformance.adapters import Unsupported
from conformance.adapters.none import NoMesh
from conformance.intents import RouteTimeout
from reports.model import Verdict
from tests.unit.chaos.helpers import INJECTED, UNDONE, frozen, history, replaced, sample, traffic

KILLED = {"killed": "echo-1", p1.DROPPED: 0.5}
TIMED = {"timeout seconds": 0.5}


def killed(samples=None, **changes):
    if samples is None:
        samples = replaced(traffic(), INJECTED + 0.4, 2000, pod="echo-2")
    return history(samples=samples, facts=KILLED, **changes)


def test_p1_passes_when_the_pod_leaves_quietly():
    assert p1.judge(killed()).verdict is Verdict.PASS


def by_turns(samples, start, end):
    """The same traffic, half of it served by another pod within [start, end)."""
    return tuple(
        replace(s, pod="echo-2") if index % 2 and start <= s.intended < end else s for index, s in enumerate(samples)
    )


def lost(samples, start, end, every):
    """The same traffic, every so many requests of it lost within [start, end)."""
    return tuple(
        sample(s.intended, error="reset") if not index % every and start <= s.intended < end else s
        for index, s in enumerate(samples)
    )


def test_p1_forgives_what_was_under_way_and_on_its_way_and_no_more():
    base = by_turns(killed().samples, 0, INJECTED)  # half of the requests were the dead pod's
    nobody_knew = lost(base, INJECTED, INJECTED + 1.4, every=2)  # Kubernetes dropped it after 0.5 s
    assert p1.judge(killed(nobody_knew)).verdict is Verdict.PASS
    for more in (
        lost(base, INJECTED, INJECTED + 1.4, every=1),  # the other pod's as well
        lost(base, INJECTED, INJECTED + 2.4, every=2),  # for a second more
        lost(base, INJECTED + 1.6, INJECTED + 4.9, every=8),  # fewer than might have been, but once it was known
    ):
        judgement = p1.judge(killed(more))
        assert judgement.verdict is Verdict.FAIL
        assert "in flight" in judgement.reason


def test_p1_does_not_take_what_hangs_later_for_what_was_in_flight_at_the_kill():
    base = by_turns(killed().samples, 0, INJECTED)
    known = lost(base, INJECTED + 1.6, INJECTED + 1.8, every=2)  # ten of them, once proxies could know
    stuck = tuple(sample(INJECTED + 0.1 + i / 100, took=0.8, error="reset") for i in range(16))
    judgement = p1.judge(killed((*known, *stuck)))
    assert judgement.verdict is Verdict.FAIL
    assert "1 were in flight at the kill" in judgement.reason
    assert "10 failed later" in judgement.reason


def test_p1_says_what_it_forgives_of_what_was_lost_late():
    base = by_turns(killed().samples, 0, INJECTED)
    judgement = p1.judge(killed(lost(base, INJECTED + 1.6, INJECTED + 1.61, every=1)))
    assert judgement.verdict is Verdict.PASS
    assert "1 failed later" in judgement.reason


def test_p1_fails_when_the_dead_pod_answers_late():
    ghost = (*killed().samples, sample(INJECTED + 5.5, pod="echo-1"))
    assert p1.judge(killed(ghost)).verdict is Verdict.FAIL


def hanging(until):
    """All connections wait for the dead pod from half a second after the kill on; they, and no others, are lost."""
    began = INJECTED + 0.5
    waiting = tuple(sample(began + i / 100, took=until - 0.5 - i / 100, error="reset") for i in range(24))
    calm = killed(traffic(end=INJECTED + 20)).samples
    behind = frozen(calm, began, INJECTED + until)
    served = tuple(replace(s, pod="echo-2", start=s.end - 0.005, seconds=0.005) for s in behind if s.intended > began)
    before = tuple(s for s in by_turns(calm, 0, began) if s.intended <= began)
    return killed((*before, *waiting, *served), ended=INJECTED + 20)


def test_p1_counts_the_time_in_which_all_requests_wait_for_the_dead_pod():
    held = p1.judge(hanging(4.5))
    assert held.verdict is Verdict.PASS
    assert "the last trace of the dead pod was 4.5 s after the kill" in held.reason
    long = p1.judge(hanging(6.5))
    assert long.verdict is Verdict.FAIL
    assert "no request was served from 0.5 to 6.5 s" in long.reason


@pytest.mark.parametrize("listed", [{}, {p1.DROPPED: 5.6}])
def test_p1_blames_no_mesh_for_what_kubernetes_still_listed(listed):
    facts = {"killed": "echo-1", **listed}
    ghost = (*killed().samples, sample(INJECTED + 5.5, pod="echo-1"))
    judgement = p1.judge(replace(killed(ghost), facts=facts))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "Kubernetes" in judgement.reason
    assert p1.judge(replace(killed(), facts=facts)).verdict is Verdict.PASS


def test_p1_says_nothing_about_an_idle_pod():
    assert p1.judge(killed(traffic(pod="echo-2"))).verdict is Verdict.INCONCLUSIVE


def delayed(took=0.5, status=504, **more):
    base = replaced(traffic(), INJECTED, UNDONE, took=took, status=status)
    return history(**{"samples": base, "facts": TIMED, **more})


def test_n1_passes_when_requests_are_cut_off_in_time():
    judgement = n1.judge(delayed())
    assert judgement.verdict is Verdict.PASS
    assert "500 ms" in judgement.reason


def test_n1_allows_a_tenth_and_no_more():
    assert n1.judge(delayed(took=0.549)).verdict is Verdict.PASS
    assert n1.judge(delayed(took=0.56)).verdict is Verdict.FAIL


def test_n1_blames_no_mesh_for_a_late_driver():
    late = tuple(replace(s, start=s.start + 0.2) for s in delayed().samples)
    assert n1.judge(delayed(samples=late)).verdict is Verdict.PASS


def test_n1_sets_aside_what_a_standstill_of_the_machine_delayed():
    base = replaced(traffic(), INJECTED, UNDONE, took=0.5, status=504)
    stood = replaced(base, INJECTED + 1, INJECTED + 1.2, took=0.9, status=504)  # cut 0.4 s late, twenty of them
    still = ((INJECTED + 1.5, 0.6),)
    assert n1.judge(delayed(samples=stood)).verdict is Verdict.FAIL
    assert n1.judge(delayed(samples=stood, pulse=still)).verdict is Verdict.PASS
    all_late = replaced(base, INJECTED, UNDONE, took=0.9, status=504)
    beats = tuple((INJECTED + i * 0.5, 0.45) for i in range(10))
    assert n1.judge(delayed(samples=all_late, pulse=beats)).verdict is Verdict.INCONCLUSIVE


def test_n1_says_what_it_set_aside_and_passes_with_few_of_those():
    base = replaced(traffic(), INJECTED, UNDONE, took=0.5, status=504)
    still = ((INJECTED + 1.5, 0.7),)
    for end, aside, verdict in ((1.2, 20, Verdict.PASS), (1.4, 40, Verdict.INCONCLUSIVE)):
        stood = replaced(base, INJECTED + 1, INJECTED + end, took=0.9, status=504)
        judgement = n1.judge(delayed(samples=stood, pulse=still))
        assert judgement.verdict is verdict
        assert f"of these under the mesh's route timeout of 500 ms; {aside} more came late" in judgement.reason
    assert "more came late" not in n1.judge(delayed()).reason


def test_n1_fails_when_the_timeout_is_ignored():
    assert n1.judge(delayed(took=1.5, status=200)).verdict is Verdict.FAIL


def test_n1_fails_when_requests_die_at_once():
    assert n1.judge(delayed(took=0.01, status=503)).verdict is Verdict.FAIL


def test_n1_says_nothing_when_hardly_any_request_was_slow():
    assert n1.judge(delayed(took=0.01, status=200)).verdict is Verdict.INCONCLUSIVE


def test_n1_says_nothing_without_requests_under_the_fault():
    few = delayed()
    few = replace(few, marks=Marks(1000, INJECTED, UNDONE - 0.6, UNDONE, None, 1008))
    assert n1.judge(few).verdict is Verdict.INCONCLUSIVE


def test_p1_takes_its_victim_away_itself():
    scene: Any = SimpleNamespace(space="x", pods=lambda _: [{"metadata": {"name": f"echo-{n}"}} for n in (1, 2)])
    assert EXPERIMENTS["P1"].prepare(scene).victims == ("echo-1",)


class Adapter(NoMesh):
    """A mesh without words for a timeout."""

    def render(self, intent):
        return Unsupported("no timeouts here") if isinstance(intent, RouteTimeout) else super().render(intent)


def test_n1_is_not_judged_by_the_clients_own_timeout():
    scene: Any = SimpleNamespace(adapter=Adapter(), space="x", pods=lambda _: [{"metadata": {"name": "between-1"}}])
    with pytest.raises(NotHere, match="no timeouts here"):
        EXPERIMENTS["N1"].prepare(scene)


def test_n1_is_about_requests_that_are_cut_off(monkeypatch):
    done = SimpleNamespace(wait=lambda: SimpleNamespace(samples=(sample(0.0, status=504),)))
    monkeypatch.setattr(n1, "words_for", lambda *_: SimpleNamespace(merges=(), objects=()))
    scene: Any = SimpleNamespace(
        adapter=None, space="x", settings=Settings(), pods=lambda _: [{"metadata": {"name": "between-1"}}],
        kube=SimpleNamespace(apply=lambda **_: []), driver=SimpleNamespace(start=lambda _: done),
    )  # fmt: skip
    assert EXPERIMENTS["N1"].prepare(scene).cuts


def test_only_the_sham_expects_no_verdict():
    assert {e.id for e in EXPERIMENTS.values() if e.expected is not Verdict.PASS} == {"A1"}
