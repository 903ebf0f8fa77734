"""Who is in the mesh: the pod annotation `consul.hashicorp.com/connect-inject`."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import listed
from conformance.intents import Bypass, Inject, NoInject, Scope

from .base import ConsulSettings, render

ANNOTATION = "consul.hashicorp.com/connect-inject"
BY_POD = "pods opt in one by one; which namespaces are looked at is settled when Consul is installed"


@render.register
def _(intent: Inject, settings: ConsulSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Unsupported(BY_POD)
    # Each Service of a pod is registered by itself, and connect-init starts no pod but with one of them and its proxy.
    return Rendered(annotations={ANNOTATION: "true"}, needs_service=True, one_service=True)


@render.register
def _(intent: NoInject, settings: ConsulSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Unsupported(BY_POD)
    return Rendered(annotations={ANNOTATION: "false"})


@render.register
def _(intent: Bypass, settings: ConsulSettings) -> Rendered | Unsupported:
    return Rendered(annotations=listed("consul.hashicorp.com/transparent-proxy-exclude-{}-ports", intent))
