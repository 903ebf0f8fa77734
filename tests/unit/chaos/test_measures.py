from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.measures import most_in_flight, safety, steady, window
from chaos.model import SILENCE, Attempt
from tests.unit.chaos.helpers import ENDED, START, refusals, replaced, sample, traffic


def test_a_window_counts_what_was_meant_to_leave_in_it():
    found = window((sample(1, took=0.01), sample(2, took=0.03, status=503), sample(3)), 1, 3)
    assert (found.requests, found.errors, found.success) == (2, 1, 0.5)
    assert found.p50 is not None
    assert 19.9 < found.p50 < 20.1


def test_an_empty_window_has_no_numbers():
    found = window((), 0, 1)
    assert (found.requests, found.p50, found.p99, found.success) == (0, None, None, None)


def test_a_proxy_that_answers_for_itself_serves_nothing():
    assert window((sample(1, status=404), sample(1, status=403), sample(1, status=204)), 1, 2).errors == 2


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
