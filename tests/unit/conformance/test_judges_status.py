"""Judges of routes' status and of unknown filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import load
from conformance.checks import routing_status
from conformance.checks.routing_status import (
    ACCEPTED,
    RESOLVED,
    UNRESOLVED,
    Said,
    Statement,
    Unknown,
    conditions,
    judge_status,
    judge_unknown,
)
from conformance.context import Context
from reports.errors import EnvironmentProblem
from reports.model import Verdict

YES = Said("Accepted", "True", "Accepted", current=True)
WHOLE = Said("ResolvedRefs", "True", "ResolvedRefs", current=True)
LACKS = Said("ResolvedRefs", "False", "BackendNotFound", current=True)


def test_conditions_are_read_for_every_parent_and_generation():
    item = {
        "metadata": {"generation": 2},
        "status": {
            "parents": [
                {"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "observedGeneration": 2}]},
                {"conditions": [{"type": "Accepted", "status": "False", "reason": "X", "observedGeneration": 1}]},
            ]
        },
    }
    assert conditions(item) == (YES, Said("Accepted", "False", "X", current=False))
    assert conditions({"metadata": {}}) == ()


@pytest.mark.parametrize(
    ("wanted", "said", "right"),
    [
        ((ACCEPTED, RESOLVED), (YES, WHOLE), True),
        ((ACCEPTED, UNRESOLVED), (YES, LACKS), True),
        ((ACCEPTED, UNRESOLVED), (YES, WHOLE), False),  # status always True
        ((ACCEPTED, RESOLVED), (YES, LACKS), False),
        ((ACCEPTED, UNRESOLVED), (YES, replace(LACKS, reason="Whatever")), False),
        ((ACCEPTED,), (replace(YES, current=False),), False),
        ((ACCEPTED,), (YES, replace(YES, status="False")), False),
        ((ACCEPTED, RESOLVED), (YES,), False),
        ((ACCEPTED,), (), False),
    ],
)
def test_the_status_is_compared_with_the_truth(wanted, said, right):
    judged = judge_status([Statement("a route", wanted, said)])
    assert judged.verdict is (Verdict.PASS if right else Verdict.FAIL)


def told(*by: str) -> list[dict[str, Any]]:
    """Each controller says of the route what the first alone has right."""
    said = {"type": "Accepted", "reason": "Accepted", "observedGeneration": 1}
    return [{"controllerName": one, "conditions": [{**said, "status": str(one == by[0])}]} for one in by]


def said_of(
    monkeypatch: pytest.MonkeyPatch, parents: list[dict[str, Any]], classes: tuple[str, ...] = (), **settings: str
) -> tuple[Said, ...]:
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
             "metadata": {"name": "r", "namespace": "s", "generation": 1}, "status": {"parents": parents}}  # fmt: skip
    stood = SimpleNamespace(stood=lambda *_: SimpleNamespace(objects=[route]))
    monkeypatch.setattr(routing_status, "STANDING", stood)
    there = {"GatewayClass": [{"spec": {"controllerName": one}} for one in classes], "HTTPRoute": [route]}
    kube = SimpleNamespace(get=lambda *_: route, list=lambda _, kind, *__: there[kind])
    ctx = SimpleNamespace(adapter=load("istio", settings), kube=kube, watch=lambda probe, _: probe())
    return routing_status._said(cast("Context", ctx), "r", bool)


def test_a_controller_that_is_not_the_meshs_says_nothing_for_it(monkeypatch: pytest.MonkeyPatch):
    assert {load(one, {"controller": "x"}).name for one in ("refmesh", "linkerd", "cilium", "gateway-api")}
    assert said_of(monkeypatch, told("x.io/mesh")) == (YES,)
    assert said_of(monkeypatch, told("x.io/mesh", "y.io/other"), controller="x.io/mesh") == (YES,)
    denied = said_of(monkeypatch, told("y.io/other", "x.io/mesh"), controller="x.io/mesh")
    assert [one.status for one in denied] == ["False"]
    assert said_of(monkeypatch, []) == said_of(monkeypatch, [], controller="x.io/mesh") == ()


def test_a_mesh_that_says_nothing_is_not_excused_by_what_another_says(monkeypatch: pytest.MonkeyPatch):
    others = told("y.io/other")
    assert said_of(monkeypatch, others, classes=("y.io/other", "x.io/mesh"), controller="x.io/mesh") == ()


@pytest.mark.parametrize("settings", [{}, {"controller": "z.io/mistyped"}])
def test_whose_status_it_is_must_be_said_where_several_write_it(monkeypatch: pytest.MonkeyPatch, settings):
    with pytest.raises(EnvironmentProblem, match=r"is written by x\.io/mesh, y\.io/other") as caught:
        said_of(monkeypatch, told("x.io/mesh", "y.io/other"), **settings)
    assert "--set controller=NAME" in caught.value.fix


def test_a_status_that_says_of_no_state_is_told_from_one_of_an_older_state():
    """Linkerd leaves `observedGeneration` out."""
    item = {
        "metadata": {"generation": 1},
        "status": {"parents": [{"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted"}]}]},
    }
    said = conditions(item)
    assert "of which state" in judge_status([Statement("a route", (ACCEPTED,), said)]).reason
    older = (replace(YES, current=False),)
    assert "older state" in judge_status([Statement("a route", (ACCEPTED,), older)]).reason


def test_nothing_said_is_no_pass():
    assert judge_status([]).verdict is Verdict.INCONCLUSIVE


DENIED = (Said("Accepted", "False", "UnsupportedValue", current=True),)
PARTLY = (YES, Said("PartiallyInvalid", "True", "UnsupportedValue", current=True))
SPREAD = ("v1", "v2", "v3") * 20


@pytest.mark.parametrize(
    ("history", "verdict"),
    [
        (Unknown("spec.rules[0].filters[0]: unknown", (), in_force=False, answers=()), Verdict.PASS),
        (Unknown("", DENIED, in_force=False, answers=("v1", "v2", "v3") * 20), Verdict.PASS),
        (Unknown("", (YES, *DENIED), in_force=True, answers=("500",) * 60), Verdict.PASS),
        (Unknown("", (YES,), in_force=True, answers=("v2",) * 60), Verdict.FAIL),  # left out in silence
        (Unknown("", DENIED, in_force=True, answers=("v2",) * 60), Verdict.FAIL),
        (Unknown("", DENIED, in_force=True, answers=("v1", "v2", "v3") * 20), Verdict.FAIL),
        (Unknown("", (), in_force=False, answers=("v1",) * 60), Verdict.FAIL),
        (Unknown("", DENIED, in_force=False, answers=()), Verdict.INCONCLUSIVE),
        (Unknown("", (replace(PARTLY[1], status="False"),), in_force=True, answers=("500",) * 60), Verdict.FAIL),
        # a rule is dropped, and said to be
        (Unknown("", PARTLY, in_force=True, answers=("500",) * 60), Verdict.PASS),
        (Unknown("", PARTLY, in_force=True, answers=("v1",) * 60), Verdict.PASS),
        (Unknown("", PARTLY, in_force=True, answers=("v2",) * 60), Verdict.FAIL),
        (Unknown("", PARTLY, in_force=True, answers=SPREAD), Verdict.FAIL),
        (Unknown("", DENIED, in_force=True, answers=("v1",) * 60), Verdict.FAIL),  # dropped, though not accepted
        # late requests prove nothing, and hide nothing
        (Unknown("", DENIED, in_force=True, answers=("500",) * 59 + ("timeout",)), Verdict.INCONCLUSIVE),
        (Unknown("", DENIED, in_force=False, answers=(*SPREAD, "timeout")), Verdict.INCONCLUSIVE),
        (Unknown("", DENIED, in_force=False, answers=("v2",) * 59 + ("timeout",)), Verdict.FAIL),
        (Unknown("", DENIED, in_force=False, answers=("v2",) * 59 + ("500",)), Verdict.FAIL),
        (Unknown("", DENIED, in_force=False, answers=("v2",) + ("timeout",) * 59), Verdict.INCONCLUSIVE),
        (Unknown("", DENIED, in_force=True, answers=("timeout",) * 60), Verdict.FAIL),
        (Unknown("", DENIED, in_force=False, answers=("timeout",) * 60), Verdict.INCONCLUSIVE),
    ],
)
def test_an_unknown_filter_must_not_be_left_out(history, verdict):
    assert judge_unknown(history).verdict is verdict


def test_the_rows_of_a_report_name_what_is_wrong():
    judged = judge_status([Statement("a route", (ACCEPTED, UNRESOLVED), (YES, WHOLE))])
    rows = judged.evidence[0].data
    assert isinstance(rows, Sequence)
    assert "ResolvedRefs is True" in str(rows[0])
