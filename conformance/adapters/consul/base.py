"""Consul's dispatcher and settings, and its configuration entries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

from conformance.adapters.base import Manifest, Rendered, Unsupported
from conformance.adapters.settings import NamespacedName, Place, Settings
from conformance.adapters.words import NO_WORDS, manifest
from conformance.intents import Intent

__all__ = ["CLIENT", "ConsulSettings", "entry", "intentions", "render", "spoken"]

CLIENT = "client"
"""The service of the suite's meshed clients: what a client does about its upstreams is kept in the client's entry."""


class ConsulSettings(Settings):
    """How this Consul was installed."""

    control_plane: NamespacedName = Place("consul", "consul-connect-injector")
    trust_domain: str = ""
    """`<cluster id>.consul`; the identity checks need it."""
    datacenter: str = "dc1"
    mirrored: bool = False
    """Whether Kubernetes namespaces are Consul namespaces too (Enterprise). Without, one group of checks at a time: all
    services share one namespace, and groups have services of the same name."""
    gateway_class: str = "consul"
    """GatewayClass of its API gateway."""


@singledispatch
def render(intent: Intent, settings: ConsulSettings) -> Rendered | Unsupported:
    """The intent in Consul's words."""
    return Unsupported(f"{NO_WORDS} {type(intent).__name__}")


def entry(kind: str, name: str, namespace: str, spec: Manifest) -> dict[str, Any]:
    """A configuration entry of a service."""
    return manifest("consul.hashicorp.com/v1alpha1", kind, name, namespace, spec)


def intentions(service: str, namespace: str, sources: Sequence[Manifest]) -> dict[str, Any]:
    """Who may call a service: all of it in one entry, as each has only one."""
    spec = {"destination": {"name": service}, "sources": [dict(one) for one in sources]}
    return entry("ServiceIntentions", service, namespace, spec)


def spoken(namespace: str, *services: str) -> tuple[Manifest, ...]:
    """What makes services speak HTTP: without, Consul neither routes nor splits their requests."""
    return tuple(entry("ServiceDefaults", one, namespace, {"protocol": "http"}) for one in dict.fromkeys(services))
