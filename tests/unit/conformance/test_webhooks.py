"""Whose webhooks are the judged mesh's, where others have some beside it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance.adapters import load
from conformance.checks.hooks import selects
from conformance.checks.uninstalling import webhooks
from conformance.checks.webhooks import injecting, planes

CANARY = {"istio.io/rev": "canary", "kubernetes.io/metadata.name": "mp-in"}


class Cluster:
    """Two revisions of Istio in a namespace; the run's pods are of the canary."""

    def __init__(self, *webhooks: dict[str, Any]) -> None:
        self.hooks = list(webhooks)
        self.deployments = {"istiod": {"app": "istiod", "rev": "default"}, "canary": {"app": "istiod", "rev": "canary"}}
        self.services: dict[str, dict[str, str] | None] = {**self.deployments, "headless": None}

    def get(self, _: str, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        if kind == "Namespace":
            return {"metadata": {"labels": CANARY}} if name == "mp-in" else {}
        assert (kind, name, namespace) == ("Deployment", "server", "mp-in")
        return {"spec": {"template": {"metadata": {"labels": {"app": "server"}}}}}

    def list(self, _: str, kind: str, namespace: str = "") -> list[dict[str, Any]]:
        if kind.endswith("WebhookConfiguration"):
            return [one for one in self.hooks if one["kind"] == kind]
        assert namespace == "mesh"
        if kind == "Service":
            return [
                {"metadata": {"name": name}, "spec": {"selector": labels}} for name, labels in self.services.items()
            ]
        return [
            {"metadata": {"name": name}, "spec": {"template": {"metadata": {"labels": labels}}}}
            for name, labels in self.deployments.items()
        ]


def hook(service: str, rev: str = "canary", *, resource: str = "pods", kind: str = "Mutating", namespace: str = "mesh"):
    asks = {
        "clientConfig": {"service": {"name": service, "namespace": namespace}},
        "rules": [
            {"apiGroups": ["" if resource == "pods" else "x"], "operations": ["CREATE"], "resources": [resource]}
        ],
        "namespaceSelector": {"matchLabels": {"istio.io/rev": rev}} if rev else None,
        "objectSelector": {"matchExpressions": [{"key": "inject", "operator": "NotIn", "values": ["false"]}]},
    }
    return {"kind": f"{kind}WebhookConfiguration", "metadata": {"name": f"of-{service}"}, "webhooks": [asks]}


def context(cluster: Cluster, mesh: str = "istio") -> Any:
    adapter = load(mesh)
    return SimpleNamespace(kube=cluster, space=lambda place: f"mp-{place}", adapter=adapter, render=adapter.render)


JUDGED = ("mesh", "canary")


def test_an_outage_leaves_another_revision_of_the_mesh_alone():
    ctx = context(Cluster(hook("canary"), hook("istiod", "default")))
    assert planes(ctx, JUDGED) == (JUDGED,)
    assert len(injecting(ctx, "mesh")) == 1


def test_an_outage_takes_the_injector_too_where_that_is_a_deployment_of_its_own():
    """Linkerd's is; Istio's webhook is served by the control plane itself."""
    cluster = Cluster(hook("injector"), hook("policy", "", resource="servers"), hook("canary", namespace="elsewhere"))
    cluster.deployments |= {name: {"app": name, "rev": "canary"} for name in ("injector", "policy")}
    cluster.services |= {name: {"app": name} for name in ("injector", "policy")}
    assert planes(context(cluster), JUDGED) == (JUDGED, ("mesh", "injector"))


def test_who_changes_no_pods_has_no_injector():
    """Cilium's operator is beside whatever else the cloud has in kube-system."""
    assert planes(context(Cluster(hook("istiod", "")), "cilium"), JUDGED) == (JUDGED,)


def test_what_another_revision_answers_is_not_left_behind():
    cluster = Cluster(
        hook("canary"), hook("istiod", "default"), hook("canary", kind="Validating"), hook("istiod", kind="Validating")
    )
    ctx = context(cluster)
    mine = ("MutatingWebhookConfiguration of-canary", "ValidatingWebhookConfiguration of-canary")
    assert webhooks(ctx, (JUDGED,)) == mine
    del cluster.deployments["canary"]
    assert webhooks(ctx, (JUDGED,)) == mine
    del cluster.services["canary"]
    assert webhooks(ctx, (JUDGED,)) == mine
    cluster.hooks = cluster.hooks[1::2]
    assert webhooks(ctx, (JUDGED,)) == ()


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        (("istio.io/rev", "In", "canary"), True),
        (("istio.io/rev", "In", "default"), False),
        (("istio.io/rev", "NotIn", "canary"), False),
        (("other", "NotIn", "canary"), True),
        (("other", "In", "canary"), False),
        (("other", "Exists"), False),
        (("other", "DoesNotExist"), True),
        (("istio.io/rev", "Exists"), True),
        (("istio.io/rev", "DoesNotExist"), False),
    ],
)
def test_selectors_mean_what_they_mean_to_kubernetes(expression: tuple[str, ...], selected: bool):
    key, operator, *values = expression
    wanted = {"matchExpressions": [{"key": key, "operator": operator, "values": values or None}]}
    assert selects(wanted, CANARY) is selected
    assert selects({**wanted, "matchLabels": {"other": "x"}}, CANARY) is False
    assert selects({"matchLabels": CANARY}, CANARY)
    assert selects(None, CANARY)
