import json
from dataclasses import replace

import pytest

from fixtures.kube import Kube
from load import cli
from load.meshing import Meshing, Wanted
from load.plan import MIN_REQUESTS, SHORT, Plan, expect_measurable
from reports.errors import UsageProblem
from reports.model import Result, Verdict


@pytest.mark.parametrize("plan", [Plan(), SHORT, Plan(rate=1000, block_seconds=0.1)])
def test_blocks_that_have_a_p99_are_measured(plan):
    expect_measurable(plan)
    assert plan.block("http://echo/").count - plan.warmup_requests >= MIN_REQUESTS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block_seconds": 0.3}, "a block of 60 requests has no p99"),
        ({"rate": 99.0}, "a block of 99 requests has no p99"),
        ({"rate": 6000.0}, "rate is 6000"),
    ],
)
def test_what_cannot_be_measured_is_said_before_there_is_a_cluster(monkeypatch, changes, said):
    with pytest.raises(UsageProblem, match=said):
        expect_measurable(replace(Plan(), **changes))

    def connect(*_):
        pytest.fail("a cluster was asked")

    monkeypatch.setattr(Kube, "connect", connect)
    monkeypatch.setattr(cli, "_resolve", [lambda *_: Wanted(Meshing("none"))])
    with pytest.raises(UsageProblem, match=said):
        cli.latency(**{"rate": 200.0, "block_seconds": 1.0, "assignments": None, **changes})


def test_connections_are_the_users_and_part_of_the_command(monkeypatch, capsys):
    plans = []

    def measure(kube, meshing, image, plan, report):
        plans.append(plan)
        return Result("LAT01", plan.title, "measurement", "latency", "extended", Verdict.PASS, "quiet")

    monkeypatch.setattr(cli, "measure", measure)
    monkeypatch.setattr(Kube, "connect", lambda *_: None)
    monkeypatch.setattr(cli, "_resolve", [lambda *_: Wanted(Meshing("none"), image="i")])
    cli.latency(rate=2000.0, connections=16, assignments=None, output=cli.Output.JSON)
    assert [plan.block("http://echo/").users for plan in plans] == [16]
    assert " --connections 16" in json.loads(capsys.readouterr().out)["reproduce"]
    cli.latency(assignments=None)
    assert plans[1].users == Plan().users


def test_how_long_a_block_must_be_is_said():
    with pytest.raises(UsageProblem) as raised:
        expect_measurable(Plan(rate=150, block_seconds=0.5))
    assert "--block-seconds 0.667 or more" in raised.value.fix
