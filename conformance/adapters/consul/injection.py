"""Who is in the mesh: the pod annotation `consul.hashicorp.com/connect-inject`."""

from __future__ import annotations

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.words import listed
from conformance.intents import Bypass, Inject, NoInject, Scope
from fixtures.workloads.manifests import PORTS

from .base import ConsulSettings, intentions, render

ANNOTATION = "consul.hashicorp.com/connect-inject"
TRANSPARENT = "consul.hashicorp.com/transparent-proxy"
"""By which a pod's traffic goes through its proxy, whatever `transparentProxy.defaultEnabled` of the chart says: calls
past it would be in plaintext, and of no route."""
BY_POD = "pods opt in one by one; which namespaces are looked at is settled when Consul is installed"


@render.register
def _(intent: Inject, settings: ConsulSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Unsupported(BY_POD)
    # Each Service of a pod is registered by itself, and connect-init starts no pod but with one of them and its proxy;
    # others could be left out by a label, and then the mesh would know no way to them. Of several ports only the
    # Enterprise edition registers more than the first.
    service = intent.service or intent.workload
    opened = (everybody(service),) if service else ()
    return Rendered(
        objects=opened,
        annotations={ANNOTATION: "true", TRANSPARENT: "true"},
        needs_service=True,
        one_service=True,
        one_port=PORTS["http"],
        needs_token=True,  # with ACLs the proxy logs in by it
    )


def everybody(service: str) -> Manifest:
    """Who may call a service, for the namespace that it is created in. An authorization check replaces it.

    Where nothing is said, the default of Consul's ACLs holds, which is to deny on a hardened installation.
    """
    made = intentions(service, "", [{"name": "*", "action": "allow"}])
    made["metadata"].pop("namespace")
    return made


@render.register
def _(intent: NoInject, settings: ConsulSettings) -> Rendered | Unsupported:
    if intent.scope is Scope.NAMESPACE:
        return Unsupported(BY_POD)
    return Rendered(annotations={ANNOTATION: "false"})


@render.register
def _(intent: Bypass, settings: ConsulSettings) -> Rendered | Unsupported:
    return Rendered(annotations=listed("consul.hashicorp.com/transparent-proxy-exclude-{}-ports", intent))
