"""Authorization: `CiliumNetworkPolicy`, with HTTP rules where what is in a request matters."""

from __future__ import annotations

import re
from typing import Any

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import cannot, manifest
from conformance.intents import Access, AccessRule, Effect, LenientPaths, TokenIssuer, UnreadableAccess
from fixtures.workloads.manifests import PORTS

from .base import CiliumSettings, render

cannot(render, "requests' tokens are not looked at", TokenIssuer)
cannot(render, "a policy has no conditions that could be unknown", UnreadableAccess)
cannot(render, "denials are by caller and port, not by path", LenientPaths)

NAMESPACE, ACCOUNT = "k8s:io.kubernetes.pod.namespace", "k8s:io.cilium.k8s.policy.serviceaccount"


@render.register
def _(intent: Access, settings: CiliumSettings) -> Rendered | Unsupported:
    """Ingress of the workload's endpoints. Denials know callers and ports, allowances also requests.

    What is denied is dropped (cilium, Documentation/security/policy/intro.rst), unless its caller may ask other things
    of that port: those requests the node's proxy answers with 403.
    """
    for rule in intent.rules:
        if rule.token:
            return Unsupported("requests' tokens are not looked at")
        if settings.ztunnel and (rule.ports or _http(rule)):
            # cilium, Documentation/security/network/encryption-ztunnel.rst, "Limitations".
            return Unsupported("policies see ztunnel's own port, not the port that a request is for")
        if intent.effect is Effect.DENY and _http(rule):
            return Unsupported("denials are by caller and port, not by what is in a request")
        if intent.effect is Effect.ALLOW and _http(rule) and set(rule.ports) - {PORTS["http"]}:
            return Unsupported("rules for requests are for the ports that speak HTTP")
    found = [_ingress(rule) for rule in intent.rules]
    field = "ingressDeny" if intent.effect is Effect.DENY else "ingress"
    # A section that holds one empty rule selects the endpoints, and lets nobody in.
    spec: dict[str, Any] = {"endpointSelector": {"matchLabels": {"app": intent.workload}}, field: found or [{}]}
    if intent.effect is Effect.DENY:
        # A denial alone would keep everybody else out too (pkg/policy/repository.go). The field is there since 1.16.
        spec["enableDefaultDeny"] = {"ingress": False}
    policy = manifest("cilium.io/v2", "CiliumNetworkPolicy", intent.name, intent.namespace, spec)
    return Rendered(objects=(policy,), drops=True)


def _ingress(rule: AccessRule) -> dict[str, Any]:
    http = _http(rule)
    ports = rule.ports or ((PORTS["http"],) if http else ())
    found: dict[str, Any] = {"fromEndpoints": _callers(rule)}
    if ports:
        port_rule: dict[str, Any] = {"ports": [{"port": str(one), "protocol": "TCP"} for one in ports]}
        found["toPorts"] = [{**port_rule, **({"rules": {"http": http}} if http else {})}]
    return found


def _callers(rule: AccessRule) -> list[dict[str, Any]]:
    """Endpoints by their labels. Without any said: every endpoint, of whatever namespace."""
    if rule.accounts:
        pairs = [one for one in rule.accounts if not rule.namespaces or one[0] in rule.namespaces]
        return [{"matchLabels": {NAMESPACE: space, ACCOUNT: account}} for space, account in pairs]
    if rule.namespaces:
        return [{"matchLabels": {NAMESPACE: space}} for space in rule.namespaces]
    return [{"matchExpressions": [{"key": NAMESPACE, "operator": "Exists"}]}]


def _http(rule: AccessRule) -> list[dict[str, Any]]:
    """Rules for requests; their fields are regular expressions."""
    if not (rule.methods or rule.paths or rule.hosts or rule.header):
        return []
    header = {"headerMatches": [{"name": rule.header[0], "value": rule.header[1]}]} if rule.header else {}
    return [
        {
            **({"method": method} if method else {}),
            **({"path": _expression(path)} if path else {}),
            # Where clients name the port, as they do if it is not the scheme's own, it is part of what is matched.
            **({"host": f"{re.escape(host)}(:[0-9]+)?"} if host else {}),
            **header,
        }
        for method in rule.methods or ("",)
        for path in rule.paths or ("",)
        for host in rule.hosts or ("",)
    ]


def _expression(path: str) -> str:
    """Matched against the whole `:path`, which a query is a part of (cilium, pkg/envoy/policy)."""
    return re.escape(path[:-1]) + ".*" if path.endswith("*") else re.escape(path) + r"(\?.*)?"
