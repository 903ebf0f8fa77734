import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from load.spec import LoadSpec, intended_times
from reports.errors import UsageProblem

BODY = {"url": "http://echo:8080/", "rate": 100, "duration": 1.5}


@settings(deadline=None)
@given(st.floats(0.5, 500), st.floats(0.05, 5), st.sampled_from(["uniform", "poisson"]), st.integers(0, 9))
def test_the_schedule_is_fixed_ascending_and_of_the_promised_length(rate, duration, arrivals, seed):
    spec = LoadSpec("http://echo/", rate, duration, arrivals=arrivals, seed=seed)
    times = list(intended_times(spec))
    assert times == list(intended_times(spec))
    assert len(times) == spec.count == max(1, round(rate * duration))
    assert times[0] == 0
    assert all(early <= late for early, late in itertools.pairwise(times))


def test_uniform_arrivals_are_evenly_spaced():
    assert list(intended_times(LoadSpec("http://echo/", 4, 1))) == [0, 0.25, 0.5, 0.75]


def test_a_spec_survives_the_wire():
    spec = LoadSpec("http://echo:8080/?delay=5ms", 50, 2, headers={"x": "1"}, record="requests")
    assert LoadSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"url": "ftp://echo/"}, "url"),
        ({"url": 7}, "url"),
        ({"rate": 0}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"rate": True}, "rate"),
        ({"rate": 1e9}, "rate"),
        ({"duration": -1}, "duration"),
        ({"users": 0}, "users"),
        ({"users": 1.5}, "users"),
        ({"timeout": 0}, "timeout"),
        ({"record": "all"}, "record"),
        ({"arrivals": "now"}, "arrivals"),
        ({"headers": ["x"]}, "headers"),
        ({"warmup": -1}, "warmup"),
        ({"speed": 1}, "speed"),
        ({"rate": 5000, "duration": 3600}, "requests"),
    ],
)
def test_a_wrong_field_is_named(change, named):
    with pytest.raises(UsageProblem, match=named):
        LoadSpec.from_json({**BODY, **change})


def test_a_missing_field_is_named():
    with pytest.raises(UsageProblem, match="rate"):
        LoadSpec.from_json({"url": "http://echo/", "duration": 1})


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_nonsense_is_a_usage_problem_and_nothing_else(data):
    with pytest.raises(UsageProblem):
        LoadSpec.from_json(data)
