from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.figures import PHASES, metrics, phases, timeline
from chaos.model import Attempt
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


def test_the_figures_of_a_calm_history():
    found = metrics(history())
    assert found["success_during"] == 1
    assert found["added_errors"] == 0
    assert found["unauthorised_successes"] == 0
    assert found["seconds_to_land"] == 0.5
    assert abs(found["seconds_to_recover"] - 0.3) < 1e-6
    assert found["retry_amplification"] == 1
    assert {"p50_ms_before", "p99_ms_before", "p50_ms_during", "p99_ms_during", "p50_ms_after", "p99_ms_after"} <= set(
        found
    )


def test_traffic_has_a_time_of_its_own_to_recover_and_both_begin_when_the_fault_is_over():
    pod_back = {"recovered": UNDONE + 1.5, "steady": UNDONE}
    errors = replaced(traffic(), INJECTED + 0.2, INJECTED + 0.6, status=503)
    killed = metrics(history(samples=errors, lasting=False, **pod_back))
    assert abs(killed["seconds_to_steady_traffic"] - 0.59) < 1e-6
    assert abs(killed["seconds_to_recover"] - (UNDONE - INJECTED + 1.5)) < 1e-6
    lasting = metrics(history(samples=errors, **pod_back))
    assert lasting["seconds_to_steady_traffic"] == 0
    assert abs(lasting["seconds_to_recover"] - 1.5) < 1e-6
    later = metrics(history(samples=frozen(errors, UNDONE - 0.5, UNDONE + 1.2), **pod_back))
    assert abs(later["seconds_to_steady_traffic"] - 1.2) < 1e-6


def test_what_is_not_known_is_left_out():
    found = metrics(history(samples=(), arrivals=None, recovered=None))
    unknown = {"success_during", "p50_ms_during", "retry_amplification"}
    assert not (unknown | {"seconds_to_recover", "seconds_to_steady_traffic"}) & set(found)


def test_arrivals_are_held_against_all_that_was_sent():
    # The servers count from the first request on, the history is cut at the marks.
    assert metrics(history(arrivals=950, sent=950))["retry_amplification"] == 1


def test_what_is_slow_or_lost_while_the_fault_is_taken_back_shows():
    slow = metrics(history(samples=replaced(traffic(), UNDONE, UNDONE + 1, took=0.9), recovered=UNDONE + 1))
    spans = [slow[f"p99_ms_{phase}"] for phase in PHASES]
    assert [round(one) for one in spans] == [5, 5, 900, 5]
    half = metrics(history(samples=replaced(traffic(), UNDONE, UNDONE + 0.5, status=503), recovered=UNDONE + 1))
    assert (half["success_during"], half["success_recovering"], half["success_after"]) == (1, 0.5, 1)
    assert half["success_from_fault_on"] == 1 - 50 / 600


def test_without_a_recovery_nothing_comes_after_it():
    found = phases(history(recovered=None))
    assert list(found) == ["before", "during", "recovering"]
    assert found["recovering"].seconds == ENDED - UNDONE


def test_a_fault_that_nobody_takes_back_lasts_until_the_recovery():
    dead = history(lasting=False, recovered=UNDONE + 1)
    assert {name: one.seconds for name, one in phases(dead).items()} == {
        "before": INJECTED - START,
        "during": UNDONE + 1 - INJECTED,
        "after": ENDED - UNDONE - 1,
    }
    plot: Any = timeline(dead)
    assert plot["windows"] == [{"name": "fault", "start": INJECTED - START, "end": UNDONE + 1 - START}]
    assert [one["name"] for one in plot["marks"]] == ["landed", "steady again"]


def test_the_timeline_shades_the_fault_and_marks_breaches():
    breach = (*refusals(), Attempt(INJECTED + 1, "plaintext", True, True, "200"))
    plot: Any = timeline(history(samples=replaced(traffic(), INJECTED, UNDONE, status=503), attempts=breach))
    assert plot["windows"] == [{"name": "fault", "start": INJECTED - START, "end": UNDONE - START}]
    assert [m["name"] for m in plot["marks"]] == ["landed", "undone", "steady again", "unauthorised: plaintext"]
    errors = dict(next(s for s in plot["series"] if s["name"] == "errors")["points"])
    assert errors[0.25] == 0
    assert errors[3.25] == 100


@settings(deadline=None)
@given(st.lists(st.floats(START, ENDED), max_size=50))
def test_a_timeline_holds_every_request_once(ats):
    plot: Any = timeline(history(samples=tuple(sample(at) for at in ats)))
    points = [v for s in plot["series"] if s["name"] in {"throughput", "errors"} for _, v in s["points"]]
    assert round(sum(points) * 0.5) == len(ats)
