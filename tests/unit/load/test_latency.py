"""The course of a measurement, with drivers that cannot always be reached. Time is virtual."""

from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.kube import ApiProblem, eventually
from load import latency, remote
from load.blocks import AGAIN, BASE, MESHED
from load.ground import Arm, Ground
from load.histograms import encode, histogram
from load.meshing import Meshing
from load.plan import Plan
from load.remote import Job, JobFailed
from load.spec import LoadSpec
from load.usage import proxy_usage
from reports.errors import EnvironmentProblem
from reports.model import Verdict

PLAN = Plan(pairs=12)
TOOK = encode(histogram([1e-3] * 100))
AWAY = "the load driver in plain/driver does not answer: Remote end closed connection without response"


class Time:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds


class Driver:
    """Of all arms; every block lasts one second, and it is away in some spans of time."""

    namespace = "meshed"

    def __init__(self, time, *away):
        self.time, self.away = time, away
        self.blocks = 0

    def start(self, _):
        if any(since <= self.time.now < until for since, until in self.away):
            raise EnvironmentProblem(AWAY)
        self.blocks += 1
        self.time.now += 1
        shapes = dict.fromkeys(("latency", "service", "lag", "clock"), TOOK)
        done = SimpleNamespace(requests=100, errors=0, histograms=shapes | {"lag": encode(histogram([5e-5] * 100))})
        return SimpleNamespace(wait=lambda: done)


@pytest.fixture
def time(monkeypatch):
    made = Time()
    waiting = partial(eventually, clock=lambda: made.now, sleep=made.sleep)
    monkeypatch.setattr(latency, "eventually", waiting)
    monkeypatch.setattr(remote, "eventually", waiting)
    return made


def measured(monkeypatch, driver):
    @contextmanager
    def ground(*_):
        yield Ground({name: Arm(name, driver, "http://echo/") for name in (BASE, AGAIN, MESHED)}, {})

    monkeypatch.setattr(latency, "ground", ground)
    monkeypatch.setattr(latency, "proxy_usage", lambda *_: None)
    kube: Any = None
    return latency.measure(kube, Meshing("m", namespace_labels={"in": "yes"}), "image", PLAN)


def test_a_driver_that_is_away_for_a_moment_costs_nothing(monkeypatch, time):
    driver = Driver(time, (10, 12), (30, 31))
    result = measured(monkeypatch, driver)
    assert result.verdict is Verdict.PASS
    assert (driver.blocks, result.metrics["invalid_blocks"]) == (36, 0)


def test_one_that_is_away_for_longer_costs_a_pair_and_says_nothing_of_the_mesh(monkeypatch, time):
    result = measured(monkeypatch, Driver(time, (5, 30), (60, 85)))
    assert result.verdict is Verdict.PASS, result.reason
    assert result.metrics["invalid_blocks"] == 2
    assert not any(result.metrics[f"lost_blocks_{name}"] for name in (BASE, AGAIN, MESHED))
    assert any(AWAY in str(piece.data) for piece in result.evidence)


def test_one_that_stays_away_is_not_waited_for_in_every_pair(monkeypatch, time):
    driver = Driver(time, (20, 1e9))
    result = measured(monkeypatch, driver)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reason.startswith("fewer than 10 pairs without the mesh are valid: the driver of arm ")
    assert AWAY in result.reason
    assert time.now < 20 + 3 * 25
    late = Driver(time, (time.now + 34, 1e9))
    assert measured(monkeypatch, late).verdict is Verdict.PASS, "eleven pairs were measured"


def test_a_job_is_lost_where_it_hangs_and_unknown_where_nobody_can_look(time):
    told = {"state": "running", "problem": "", "requests": 3, "errors": 0}

    def call(method, _):
        return told | {"state": "stopped"} if method == "DELETE" else told

    with pytest.raises(JobFailed, match="not within"):
        job(call).wait()

    def silent(*_):
        raise EnvironmentProblem(AWAY)

    with pytest.raises(EnvironmentProblem, match="Remote end closed") as raised:
        job(silent).wait()
    assert not isinstance(raised.value, JobFailed)

    def back(method, _):
        return told | {"state": "done"} if method == "DELETE" else silent()

    assert job(back).wait().state == "done"


def job(call):
    driver: Any = SimpleNamespace(skew=0.0, call=call)
    return Job(driver, LoadSpec("http://echo/", 100, 0.01), "1")


def test_usage_that_cannot_be_asked_for_is_unknown():
    def refuse(*_):
        raise ApiProblem("the API server does not answer")

    kube: Any = SimpleNamespace(list=refuse)
    assert proxy_usage(kube, "meshed") is None
