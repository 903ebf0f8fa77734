from itertools import pairwise

import pytest

from fixtures.kube import NotEventually, eventually
from reports.errors import EnvironmentProblem, ExitCode


class VirtualClock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def answers(*values):
    left = list(values)

    def probe():
        value = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(value, Exception):
            raise value
        return value

    return probe


def wait(probe, clock, **options):
    options = {"timeout": 1.0, "interval": 0.125, "what": "the light is on", **options}
    return eventually(probe, clock=clock, sleep=clock.sleep, **options)


def test_returns_the_first_true_value_without_waiting():
    clock = VirtualClock()
    assert wait(answers("yes"), clock) == "yes"
    assert clock.now == 0


def test_a_failure_in_between_starts_the_row_anew():
    clock = VirtualClock()
    seen = wait(answers(1, 0, ValueError("no"), 2, 3, 4), clock, successes=3)
    assert seen == 4
    assert clock.now == 0.625


def test_a_row_that_has_begun_does_not_end_for_want_of_time():
    clock = VirtualClock()
    looks = iter([False, True, True, False, True])

    def slow():
        clock.sleep(2.0)  # twice the time there is
        return next(looks)

    with pytest.raises(NotEventually, match="1 attempts"):
        wait(slow, clock, successes=2)
    assert wait(slow, clock, successes=2)
    with pytest.raises(NotEventually, match="1 attempts"):
        wait(slow, clock, successes=2)


@pytest.mark.parametrize(("moment", "most"), [(0.3, 8), (4.0, 51), (9.7, 68), (30.0, 110)])
def test_without_an_interval_it_asks_less_often_the_longer_it_takes_and_is_hardly_late(moment, most):
    clock, asked = VirtualClock(), []

    def probe():
        asked.append(clock())
        return clock() >= moment

    wait(probe, clock, timeout=60.0, interval=None)
    assert moment <= clock() <= moment + max(0.051, 0.05 * moment)
    assert len(asked) <= most
    gaps = [round(later - sooner, 6) for sooner, later in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[-1] <= 0.5


def test_says_what_was_awaited_how_long_and_the_last_error():
    clock = VirtualClock()
    with pytest.raises(NotEventually) as caught:
        wait(answers(ValueError("bulb missing")), clock)
    assert str(caught.value) == "the light is on: not within 1 s (9 attempts; last: ValueError: bulb missing)"
    assert isinstance(caught.value.__cause__, ValueError)
    assert clock.now <= 1.0


def test_a_false_value_is_reported_too_and_it_is_a_problem_of_the_environment():
    with pytest.raises(EnvironmentProblem, match=r"last: \[\]") as caught:
        wait(answers([]), VirtualClock())
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert caught.value.__cause__ is None


def test_probes_once_even_without_time():
    assert wait(answers("yes"), VirtualClock(), timeout=0) == "yes"


def test_an_interrupt_is_not_swallowed():
    def probe():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(probe, VirtualClock())
