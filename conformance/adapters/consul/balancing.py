"""Load balancing: `ServiceResolver`, and a router of the same service that shows its mark."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import cannot, nameless
from conformance.intents import EachRequest, InLocality, LocalityFailover, RoundRobin, StickyHeader

from .base import ConsulSettings, entry, render, spoken
from .routing import marked_router

cannot(
    render,
    "other zones stand in for the own in the Enterprise edition only",
    InLocality,
    LocalityFailover,
)


@render.register
def _(intent: EachRequest, settings: ConsulSettings) -> Rendered | Unsupported:
    return Rendered(objects=spoken(intent.namespace, intent.service))


@render.register
def _(intent: RoundRobin, settings: ConsulSettings) -> Rendered | Unsupported:
    return _resolver(intent, {"policy": "round_robin"})


@render.register
def _(intent: StickyHeader, settings: ConsulSettings) -> Rendered | Unsupported:
    hashed = [{"field": "header", "fieldValue": intent.header}]
    return _resolver(intent, {"policy": "ring_hash", "hashPolicies": hashed})


def _resolver(intent: RoundRobin | StickyHeader, balancer: Manifest) -> Rendered | Unsupported:
    marked = [intent.marker.backend] if intent.marker else []
    if refused := nameless(*marked):
        return refused
    resolver = entry("ServiceResolver", intent.service, intent.namespace, {"loadBalancer": dict(balancer)})
    speaking = spoken(intent.namespace, intent.service, *(one.service for one in marked))
    router = marked_router(intent.namespace, intent.service, intent.marker)
    return Rendered(objects=(*speaking, resolver, *router))
