"""The judges of GW on histories made by hand."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from conformance.adapters import Unsupported, load
from conformance.adapters.gateway_api import GatewayApi, GatewayApiSettings
from conformance.certificates import sans
from conformance.checks.authorization_judges import Attempt
from conformance.checks.gateways import _expect_class
from conformance.checks.gateways_judges import (
    Entered,
    Left,
    Terminated,
    judge_entered,
    judge_left,
    judge_terminated,
)
from conformance.context import Context
from conformance.forgery import site
from conformance.histories import decode, encode
from conformance.intents import Ingress
from reports.errors import EnvironmentProblem
from reports.model import Verdict

IN = Attempt("the gateway's host", True, 20, 20, 20)
OUT = Attempt("another", False, 20, 0, 0, {"status 404": 20})
TLS = Terminated("aa", "aa", ("application",) * 20, 20)


def test_the_sound_pass_and_are_kept():
    assert judge_entered(Entered(IN, OUT)).verdict is Verdict.PASS
    assert judge_terminated(TLS).verdict is Verdict.PASS
    assert decode(encode(Entered(IN, OUT))) == Entered(IN, OUT)
    assert decode(encode(TLS)) == TLS


@pytest.mark.parametrize(
    ("known", "unknown", "verdict"),
    [
        (replace(IN, answered=19), OUT, Verdict.FAIL),
        (replace(IN, arrived=0), OUT, Verdict.FAIL),  # somebody else answered
        (replace(IN, answered=0, arrived=0, ends={"refused": 20}), OUT, Verdict.FAIL),
        (IN, replace(OUT, answered=20, arrived=20, ends={}), Verdict.FAIL),
        (IN, replace(OUT, arrived=1), Verdict.FAIL),
        (IN, replace(OUT, ends={"status 404": 19, "status 503": 1}), Verdict.FAIL),
        (IN, replace(OUT, ends={"status 404": 19, "timeout": 1}), Verdict.INCONCLUSIVE),
        (replace(IN, answered=19, ends={"timeout": 1}), OUT, Verdict.INCONCLUSIVE),
        (IN, replace(OUT, ends={"status 404": 19, "unreachable": 1}), Verdict.INCONCLUSIVE),
        (IN, replace(OUT, ends={"status 404": 18, "unreachable": 2}), Verdict.FAIL),
        (replace(IN, answered=19, arrived=19, ends={"unreachable": 1}), OUT, Verdict.INCONCLUSIVE),
        (replace(IN, answered=18, arrived=18, ends={"unreachable": 2}), OUT, Verdict.FAIL),
        (replace(IN, answered=19, arrived=19, ends={"refused": 1}), OUT, Verdict.FAIL),
        (replace(IN, sent=0, answered=0, arrived=0), OUT, Verdict.INCONCLUSIVE),
    ],
)
def test_what_gets_in(known: Attempt, unknown: Attempt, verdict: Verdict):
    assert judge_entered(Entered(known, unknown)).verdict is verdict


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"shown": ""}, Verdict.FAIL),
        ({"shown": "", "error": "timeout"}, Verdict.INCONCLUSIVE),
        ({"shown": "bb"}, Verdict.FAIL),
        ({"ends": ("application",) * 19 + ("status 503",)}, Verdict.FAIL),
        ({"arrived": 19}, Verdict.FAIL),
        ({"ends": ("application",) * 19 + ("timeout",), "arrived": 19}, Verdict.INCONCLUSIVE),
        ({"ends": ("application",) * 19 + ("unreachable",), "arrived": 19}, Verdict.INCONCLUSIVE),
        ({"ends": ("application",) * 18 + ("unreachable",) * 2, "arrived": 18}, Verdict.FAIL),
        ({"ends": (), "arrived": 0}, Verdict.INCONCLUSIVE),
    ],
)
def test_where_tls_ends(change: dict[str, object], verdict: Verdict):
    assert judge_terminated(replace(TLS, **change)).verdict is verdict  # type: ignore[arg-type]


CALLED = Attempt("a service", True, 20, 20, 20)
CLOSED = Attempt("an address that nobody registered", False, 20, 0, 0, {"status 502": 15, "reset": 5})


@pytest.mark.parametrize(
    ("attempts", "verdict"),
    [
        ((CALLED, CLOSED), Verdict.PASS),
        ((CALLED, replace(CLOSED, ends={"timeout": 20})), Verdict.PASS),
        ((CALLED, replace(CLOSED, arrived=1)), Verdict.FAIL),
        ((CALLED, replace(CLOSED, answered=1)), Verdict.FAIL),
        ((replace(CALLED, answered=19), CLOSED), Verdict.FAIL),
        ((replace(CALLED, answered=19, ends={"timeout": 1}), CLOSED), Verdict.INCONCLUSIVE),
        ((replace(CALLED, arrived=0), CLOSED), Verdict.FAIL),  # somebody else answered
        ((CALLED,), Verdict.INCONCLUSIVE),
        ((CLOSED,), Verdict.INCONCLUSIVE),
        ((CALLED, replace(CLOSED, sent=0)), Verdict.INCONCLUSIVE),
    ],
)
def test_what_leaves_the_mesh(attempts: tuple[Attempt, ...], verdict: Verdict):
    assert judge_left(Left(attempts)).verdict is verdict
    assert decode(encode(Left(attempts))) == Left(attempts)


WAY_IN = Ingress("front", "ns", "shop.example", "server", 8080, "secret")


@pytest.mark.parametrize(
    ("mesh", "class_name", "account"),
    [
        ("refmesh", "refmesh", "front-refmesh"),
        ("istio", "istio", "front-istio"),
        ("kuma", "kuma", ""),
        ("consul", "consul", ""),
        ("cilium", "cilium", ""),
    ],
)
def test_a_gateway_has_the_class_of_the_mesh(mesh: str, class_name: str, account: str):
    found = load(mesh, {"version": "2"} if mesh == "kuma" else None).render(WAY_IN)
    assert not isinstance(found, Unsupported)
    *_, gateway, route = found.objects
    assert gateway["spec"]["gatewayClassName"] == class_name
    assert [one["port"] for one in gateway["spec"]["listeners"]] == [80, 443]
    assert route["spec"]["parentRefs"] == [{"name": "front"}]
    assert found.account == account


def test_without_a_secret_no_port_for_tls_is_opened():
    found = load("refmesh").render(replace(WAY_IN, secret=""))
    assert not isinstance(found, Unsupported)
    assert [one["name"] for one in found.objects[0]["spec"]["listeners"]] == ["http"]


def test_by_the_gateway_api_alone_the_user_names_the_class():
    assert isinstance(load("gateway-api").render(WAY_IN), Unsupported)
    found = GatewayApi(GatewayApiSettings.model_validate({"gateway-class": "mine"})).render(WAY_IN)
    assert not isinstance(found, Unsupported)
    assert found.objects[0]["spec"]["gatewayClassName"] == "mine"


def test_a_site_has_a_certificate_for_its_name():
    assert sans(site("shop.example").leaf) == ("shop.example",)


@pytest.mark.parametrize("known", [True, False])
def test_a_class_that_the_cluster_lacks_is_named_and_no_gateway_waited_for(known: bool) -> None:
    asked: list[tuple[str, ...]] = []

    def get(*what: str) -> dict[str, str] | None:
        asked.append(what)
        return {} if known else None

    version = "gateway.networking.k8s.io/v1beta1"  # of some meshes' own definitions there is no v1
    gateway = {"apiVersion": version, "kind": "Gateway", "spec": {"gatewayClassName": "istio"}}
    ctx = cast("Context", SimpleNamespace(kube=SimpleNamespace(get=get)))
    ends = pytest.raises(EnvironmentProblem, match="no GatewayClass istio")
    with nullcontext() if known else ends:
        _expect_class(ctx, ({"kind": "HTTPRoute", "spec": {}}, gateway))
    assert asked == [(version, "GatewayClass", "istio")]
