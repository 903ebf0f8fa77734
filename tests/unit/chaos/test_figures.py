from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.figures import metrics, phases, timeline
from chaos.model import Attempt
from reports.model import PHASES
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


def drawn(plot: Any, name):
    return dict(next(one for one in plot["series"] if one["name"] == name)["points"])


def test_a_standstill_of_which_nothing_is_lost_shows_in_the_throughput():
    plot = timeline(history(samples=frozen(traffic(), INJECTED + 0.2, INJECTED + 3.8)))
    rates = drawn(plot, "throughput")
    assert [rates[at] for at in (2.75, 3.25, 3.75, 4.25, 4.75, 5.25)] == [0] * 6
    assert rates[5.75] > 700
    assert set(drawn(plot, "errors").values()) == {0}


def test_where_nothing_is_amiss_the_throughput_has_no_dips_at_either_end():
    calm = history(samples=traffic(START + 0.14, ENDED - 0.38), ended=ENDED - 0.38)  # the load began in mid-bucket
    rates = drawn(timeline(calm), "throughput").values()
    assert all(98 <= one <= 102 for one in rates), rates


def test_an_error_is_drawn_also_where_it_came_after_the_end():
    late = (*traffic(), sample(ENDED - 0.5, took=1.7, error="timeout"))
    plot = timeline(history(samples=late))
    assert {at: one for at, one in drawn(plot, "errors").items() if one} == {9.25: 2}
    assert max(drawn(plot, "throughput")) < ENDED - START


def test_what_is_refused_at_once_makes_nothing_faster_and_what_is_cut_off_counts_where_it_is_meant_to():
    outage = history(samples=replaced(traffic(took=0.02), INJECTED, UNDONE, took=0.001, error="refused"))
    found = metrics(outage)
    assert [round(found[f"p99_ms_{phase}"]) for phase in PHASES if phase != "during"] == [20, 20, 20]
    assert "p99_ms_during" not in found
    assert found["success_during"] == 0
    assert {at for at, one in drawn(timeline(outage), "p99").items() if one is None} == {
        2.25,
        2.75,
        3.25,
        3.75,
        4.25,
        4.75,
        5.25,
        5.75,
    }
    cut = replace(outage, cuts=True)
    assert round(metrics(cut)["p99_ms_during"]) == 1
    assert None not in drawn(timeline(cut), "p99").values()


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(START, ENDED - 0.01), st.booleans()), max_size=50))
def test_a_timeline_holds_every_request_once(some):
    both = [(START, True), (START, False), *some]
    plot = timeline(history(samples=tuple(sample(at, status=200 if good else 503) for at, good in both)))
    for name, wanted in (("throughput", True), ("errors", False)):
        assert round(sum(drawn(plot, name).values()) * 0.5) == sum(good is wanted for _, good in both)
