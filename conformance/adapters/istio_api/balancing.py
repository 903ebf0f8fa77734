"""Load balancing: `DestinationRule`."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import by_itself
from conformance.intents import EachRequest, InLocality, LocalityFailover, RoundRobin, StickyHeader

from .base import render
from .traffic import ejecting, with_policy

by_itself(render, EachRequest)


@render.register
def _(intent: RoundRobin) -> Rendered | Unsupported:
    policy = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
    return Rendered(objects=with_policy(intent.namespace, intent.service, policy, intent.marker))


@render.register
def _(intent: StickyHeader) -> Rendered | Unsupported:
    policy = {"loadBalancer": {"consistentHash": {"httpHeaderName": intent.header}}}
    return Rendered(objects=with_policy(intent.namespace, intent.service, policy, intent.marker))


@render.register
def _(intent: InLocality) -> Rendered | Unsupported:
    return Rendered(labels={"istio-locality": f"{intent.region}.{intent.zone}"})


@render.register
def _(intent: LocalityFailover) -> Rendered | Unsupported:
    wanted = intent.ejection
    return Rendered(objects=with_policy(wanted.namespace, wanted.service, ejecting(wanted, near=True), wanted.marker))
