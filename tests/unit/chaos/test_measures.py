from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.measures import metrics, most_in_flight, safety, steady, timeline, window
from chaos.model import SILENCE, Attempt
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


def test_a_window_counts_what_was_meant_to_leave_in_it():
    found = window((sample(1, took=0.01), sample(2, took=0.03, status=503), sample(3)), 1, 3)
    assert (found.requests, found.errors, found.success) == (2, 1, 0.5)
    assert found.p50 is not None
    assert 19.9 < found.p50 < 20.1


def test_an_empty_window_has_no_numbers():
    found = window((), 0, 1)
    assert (found.requests, found.p50, found.p99, found.success) == (0, None, None, None)


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


def test_a_proxy_that_answers_for_itself_serves_nothing():
    assert window((sample(1, status=404), sample(1, status=403), sample(1, status=204)), 1, 2).errors == 2


def test_arrivals_are_held_against_all_that_was_sent():
    # The servers count from the first request on, the history is cut at the marks.
    assert metrics(history(arrivals=950, sent=950))["retry_amplification"] == 1


def test_silence_is_no_refusal():
    silent = tuple(replace(one, detail=SILENCE) for one in refusals())
    assert set(safety(silent, START, ENDED).refusals.values()) == {0}


def test_in_flight_is_the_worst_moment():
    spread = (sample(0, took=2), sample(1, took=2), sample(2.5, took=1), sample(9, took=1))
    assert most_in_flight(spread, 0, 5) == 2
    assert most_in_flight(spread, 9, 9) == 1
    assert most_in_flight((), 0, 5) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 3)), max_size=40))
def test_in_flight_is_bounded_by_the_requests_alive(spans):
    some = [sample(at, took=took) for at, took in spans]
    most = most_in_flight(some, 2, 8)
    assert most <= sum(s.start <= 8 and s.end >= 2 for s in some)


def test_steady_means_served_in_full():
    calm = traffic(0, 2)
    assert steady(calm, 2.0, 1.0, 100)
    assert not steady(calm, 3.5, 1.0, 100)
    assert not steady(calm[::2], 2.0, 1.0, 100)
    assert not steady(replaced(calm, 1.5, 1.505, status=500), 2.0, 1.0, 100)
    assert not steady((), 2.0, 1.0, 100)


def test_refusals_count_only_where_there_was_something_to_refuse():
    tried = (
        Attempt(1, "plaintext", True, False, "reset"),
        Attempt(1, "tls-no-certificate", False, False, "refused"),
        Attempt(9, "plaintext", True, False, "reset"),
    )
    found = safety(tried, 0, 5)
    assert (found.through, dict(found.refusals)) == (
        0,
        {"plaintext": 1, "tls-no-certificate": 0, "tls-foreign-certificate": 0},
    )


def test_a_breach_counts_whenever_it_was():
    found = safety((Attempt(9, "plaintext", True, True, "HTTP/1.1 200 OK"),), 0, 5)
    assert found.through == 1
    assert "plaintext" in found.first


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
