"""Load balancing: `MeshLoadBalancingStrategy`, and a route of the same service that shows its mark."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import by_itself, cannot
from conformance.intents import EachRequest, InLocality, LocalityFailover, RoundRobin, StickyHeader

from .base import KumaSettings, mesh_service, policy, render
from .routing import http_route, to_service

by_itself(render, EachRequest)
cannot(render, "closer hosts in a cluster get more of the requests, not all", InLocality, LocalityFailover)


@render.register
def _(intent: RoundRobin, settings: KumaSettings) -> Rendered | Unsupported:
    return _strategy(settings, intent, {"loadBalancer": {"type": "RoundRobin"}})


@render.register
def _(intent: StickyHeader, settings: KumaSettings) -> Rendered | Unsupported:
    hashed = [{"type": "Header", "header": {"name": intent.header}}]
    if settings.version == "2":
        return _strategy(settings, intent, {"loadBalancer": {"type": "RingHash", "ringHash": {"hashPolicies": hashed}}})
    return _strategy(settings, intent, {"loadBalancer": {"type": "RingHash"}, "hashPolicies": hashed})


def _strategy(settings: KumaSettings, intent: RoundRobin | StickyHeader, default: Manifest) -> Rendered | Unsupported:
    target = mesh_service(settings, intent.namespace, intent.service)
    spec = {"to": [{"targetRef": target, "default": dict(default)}]}
    strategy = policy(settings, "MeshLoadBalancingStrategy", intent.service, intent.namespace, spec)
    if intent.marker is None:
        return Rendered(objects=(strategy,))
    rules = (to_service(intent.service),)
    routed = http_route(settings, intent.namespace, intent.service, intent.port, rules, intent.marker)
    return routed if isinstance(routed, Unsupported) else Rendered(objects=(strategy, *routed.objects))
