"""Who is in the mesh: the annotation `linkerd.io/inject`."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import listed
from conformance.intents import Bypass, Inject, Mode, NoInject, Scope

from .base import LinkerdSettings, render
from .security import ACCESS

APP_PROTOCOLS = {"http": "", "grpc": "kubernetes.io/h2c"}
"""Since 2.18 "http" means HTTP/1 alone, without any HTTP/1 and HTTP/2 are told apart, and a name that Linkerd does not
know, as "grpc", makes a port opaque: its routes hold for nothing."""


@render.register
def _(intent: Inject, settings: LinkerdSettings) -> Rendered | Unsupported:
    """A namespace's opt-in also lets everybody in, as an installation may deny what no policy allows.

    A mode of the namespace's own says otherwise by the same annotation, and wins.
    """
    marks = {"linkerd.io/inject": "enabled"}
    if intent.scope is Scope.NAMESPACE:
        marks["config.linkerd.io/default-inbound-policy"] = ACCESS[Mode.PERMISSIVE]
    return Rendered(annotations=marks, app_protocols=APP_PROTOCOLS)


@render.register
def _(intent: NoInject, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations={"linkerd.io/inject": "disabled"})


@render.register
def _(intent: Bypass, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations=listed("config.linkerd.io/skip-{}-ports", intent))
