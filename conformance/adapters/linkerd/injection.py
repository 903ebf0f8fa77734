"""Who is in the mesh: the annotation `linkerd.io/inject`."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import listed
from conformance.intents import Bypass, Inject, NoInject

from .base import LinkerdSettings, render

APP_PROTOCOLS = {"http": "", "grpc": "kubernetes.io/h2c"}
"""Since 2.18 "http" means HTTP/1 alone, without any HTTP/1 and HTTP/2 are told apart, and a name that Linkerd does not
know, as "grpc", makes a port opaque: its routes hold for nothing."""


@render.register
def _(intent: Inject, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations={"linkerd.io/inject": "enabled"}, app_protocols=APP_PROTOCOLS)


@render.register
def _(intent: NoInject, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations={"linkerd.io/inject": "disabled"})


@render.register
def _(intent: Bypass, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations=listed("config.linkerd.io/skip-{}-ports", intent))
