"""What keeps a Cilium from being judged: policies by which nobody is let in, whatever the mesh does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.adapters import load
from fixtures.kube import ApiProblem


def said(*specs: dict[str, Any], enforced: str = "default", may_look: bool = True) -> str:
    """What the adapter has against a Cilium with these policies for the whole cluster."""
    config = {"data": {"enable-gateway-api": "true", "enable-policy": enforced}}
    available = {"status": {"availableReplicas": 1}}

    def listed(_: str, kind: str) -> list[dict[str, Any]]:
        if not may_look:
            raise ApiProblem("forbidden", status=403, reason="Forbidden")
        assert kind == "CiliumClusterwideNetworkPolicy"
        return [{"metadata": {"name": f"p{number}"}, "spec": spec} for number, spec in enumerate(specs)]

    kube = SimpleNamespace(get=lambda _, kind, *__: config if kind == "ConfigMap" else available, list=listed)
    return load("cilium").problem(cast("Any", kube))


def test_one_that_enforces_policies_always_lets_nothing_of_a_run_in_or_out():
    assert "policyEnforcementMode=default" in said(enforced="always")
    assert said() == said(enforced="never") == ""


SYSTEM = {"key": "k8s:io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["kube-system"]}
DNS = {"toEndpoints": [{"matchLabels": {"k8s-app": "kube-dns"}}], "toPorts": [{"ports": [{"port": "53"}]}]}
DOCUMENTED = {"endpointSelector": {"matchExpressions": [SYSTEM]}, "egress": [DNS]}
"""By which Cilium's documentation closes a cluster."""
ALL: dict[str, Any] = {"endpointSelector": {}}
OUT: list[dict[str, Any]] = [{"toEntities": ["cluster"]}]
IN: list[dict[str, Any]] = [{"fromEndpoints": [{}]}]


@pytest.mark.parametrize(
    "specs",
    [
        [DOCUMENTED],
        [{**ALL, "ingress": [{}]}],
        [{**ALL, "ingressDeny": [{"fromEntities": ["world"]}]}],
        [{**ALL, "enableDefaultDeny": {"ingress": True}}],
        [{**ALL, "ingress": IN, "egress": [DNS]}],
        [DOCUMENTED, {"endpointSelector": {"matchLabels": {"io.kubernetes.pod.namespace": "ci"}}, "egress": OUT}],
        [DOCUMENTED, {**ALL, "egress": [{**OUT[0], "toPorts": [{"ports": [{"port": "80"}]}]}]}],
    ],
)
def test_a_policy_that_closes_every_namespace_is_named(specs):
    assert said(*specs).startswith("CiliumClusterwideNetworkPolicy p0 lets nothing through")
    assert said(*specs, enforced="never") == ""
    assert said(*specs, may_look=False) == ""


@pytest.mark.parametrize(
    "specs",
    [
        [{**ALL, "ingress": IN, "egress": OUT}],
        [{**DOCUMENTED, "enableDefaultDeny": {"egress": False}}],
        [{**ALL, "ingressDeny": [{"fromEntities": ["world"]}], "enableDefaultDeny": {"ingress": False}}],
        [DOCUMENTED, {"endpointSelector": {"matchLabels": {"team": "net"}}, "egress": OUT}],
        [{"endpointSelector": {"matchLabels": {"app": "shop"}}, "ingress": [{}]}],
        [{"nodeSelector": {}, "ingress": [{}]}],
        [{"endpointSelector": {"matchExpressions": [{**SYSTEM, "operator": "In"}]}, "egress": [DNS]}],
    ],
)
def test_one_that_leaves_a_way_is_not(specs):
    assert said(*specs) == ""
