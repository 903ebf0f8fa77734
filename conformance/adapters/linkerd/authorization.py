"""Authorization: `Server`s that deny, and `AuthorizationPolicy` with the identities that are let in.

What rules say of paths, methods, headers and hosts becomes an `HTTPRoute` of the `Server`s. A `Server` that has routes
answers 404 to what none of them matches, and lets the pods' probes in no more: so a second route has everything else,
which no policy allows, and a third one the probes of the suite's servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.gateway_api_words import base as gateway_api
from conformance.adapters.gateway_api_words.filters import exact
from conformance.adapters.words import cannot, manifest
from conformance.intents import Access, AccessRule, Effect, LenientPaths, TokenIssuer, UnreadableAccess
from fixtures.workloads.manifests import PORTS, PROBE_PATH

from .base import POLICY, LinkerdSettings, render

cannot(render, "requests' tokens are not looked at", TokenIssuer)
cannot(render, "a policy has no conditions that could be unknown", UnreadableAccess)
cannot(render, "there are allowances only: no path can be denied, however it is written", LenientPaths)

_ANYBODY = AccessRule()
_EVERYWHERE = {"networks": [{"cidr": "0.0.0.0/0"}, {"cidr": "::/0"}]}
_PROBES = {"path": {"type": "Exact", "value": PROBE_PATH}, "method": "GET"}
_Target = tuple[str, str, str]
"""Group, kind and name of what a policy is for."""


@render.register
def _(intent: Access, settings: LinkerdSettings) -> Rendered | Unsupported:
    """Every port of the workload denies; each rule lets its callers in at its ports."""
    if intent.effect is Effect.DENY:
        return Unsupported("there are allowances only: what none allows is refused")
    if any(rule.token for rule in intent.rules):
        return Unsupported("requests' tokens are not looked at")
    narrow = [rule for rule in intent.rules if _narrow(rule)]
    if len({(rule.accounts, rule.namespaces, rule.hosts, rule.ports) for rule in narrow}) > 1:
        return Unsupported("a request is matched by one route of a server, whose policy alone decides")
    objects = [_server(intent, port) for port in PORTS.values()]
    for i, rule in enumerate(intent.rules):
        if not _narrow(rule):
            servers = [(POLICY, "Server", f"{intent.workload}-{port}") for port in rule.ports or PORTS.values()]
            objects += _let_in(intent, f"{intent.name}-{i}", rule, servers)
    return Rendered(objects=(*objects, *_routes(intent, narrow)))


def _narrow(rule: AccessRule) -> bool:
    """Whether it is about some requests only."""
    return bool(rule.methods or rule.paths or rule.hosts or rule.header)


def _server(intent: Access, port: int) -> Manifest:
    spec = {"podSelector": {"matchLabels": {"app": intent.workload}}, "port": port, "accessPolicy": "deny"}
    return manifest(f"{POLICY}/v1beta3", "Server", f"{intent.workload}-{port}", intent.namespace, spec)


def _let_in(intent: Access, name: str, rule: AccessRule, targets: Sequence[_Target]) -> Iterator[Manifest]:
    """A rule's callers, and for each target the policy that lets them in there."""
    accounts = [{"kind": "ServiceAccount", "name": one, "namespace": space} for space, one in rule.accounts]
    namespaces = [{"kind": "Namespace", "name": one} for one in rule.namespaces]
    callers = accounts or namespaces
    if accounts and namespaces:  # both must hold
        callers = [one for one in accounts if one["namespace"] in rule.namespaces]
        if not callers:  # the rule lets nobody in, and the servers deny what no policy allows
            return
    kind = "MeshTLSAuthentication" if callers else "NetworkAuthentication"
    spec: Manifest = {"identityRefs": callers} if callers else _EVERYWHERE
    yield manifest(f"{POLICY}/v1alpha1", kind, name, intent.namespace, spec)
    needed = [{"group": POLICY, "kind": kind, "name": name}]
    for group, what, target in targets:
        policy = {"targetRef": {"group": group, "kind": what, "name": target}, "requiredAuthenticationRefs": needed}
        called = f"{name}-{target}" if len(targets) > 1 else name
        yield manifest(f"{POLICY}/v1alpha1", "AuthorizationPolicy", called, intent.namespace, policy)


def _routes(intent: Access, rules: Sequence[AccessRule]) -> Iterator[Manifest]:
    """The routes of the servers of which some requests only are let in."""
    if not rules:
        return
    ports = rules[0].ports or tuple(PORTS.values())
    matches = [match for rule in rules for match in _matches(rule)]
    yield from _route(intent, f"{intent.name}-some", ports, matches, rules[0])
    # Of two routes alike the one whose name comes first wins.
    yield from _route(intent, f"{intent.name}-the-rest", ports, [], None)
    if PORTS["http"] in ports:
        yield from _route(intent, f"{intent.name}-probes", (PORTS["http"],), [_PROBES], _ANYBODY)


def _route(
    intent: Access, name: str, ports: Sequence[int], matches: Sequence[Manifest], rule: AccessRule | None
) -> Iterator[Manifest]:
    """A route of some of the servers, and who is let in by it."""
    parents = [{"group": POLICY, "kind": "Server", "name": f"{intent.workload}-{port}"} for port in ports]
    spec: dict[str, Any] = {"parentRefs": parents, "rules": [{"matches": list(matches)}] if matches else [{}]}
    if rule is not None and rule.hosts:
        spec["hostnames"] = list(rule.hosts)
    yield manifest(gateway_api.VERSION, "HTTPRoute", name, intent.namespace, spec)
    if rule is not None:
        yield from _let_in(intent, name, rule, [(gateway_api.GROUP, "HTTPRoute", name)])


def _matches(rule: AccessRule) -> Iterator[Manifest]:
    headers = {"headers": exact((rule.header,))} if rule.header else {}
    for path, method in product(rule.paths or ("",), rule.methods or ("",)):
        found = {"path": _path(path)} if path else {}
        yield found | ({"method": method} if method else {}) | headers


def _path(path: str) -> Manifest:
    """A path, or what it begins with: `PathPrefix` is about whole segments, and `/a/` would hold for `/a` as well."""
    if path.endswith("*"):
        return {"type": "RegularExpression", "value": f"{re.escape(path[:-1])}.*"}
    return {"type": "Exact", "value": path}
