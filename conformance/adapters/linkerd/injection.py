"""Who is in the mesh: the annotation `linkerd.io/inject`."""

from __future__ import annotations

from conformance.adapters.base import Rendered, Unsupported
from conformance.adapters.words import listed
from conformance.intents import Bypass, Inject, NoInject

from .base import LinkerdSettings, render


@render.register
def _(intent: Inject, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations={"linkerd.io/inject": "enabled"})


@render.register
def _(intent: NoInject, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations={"linkerd.io/inject": "disabled"})


@render.register
def _(intent: Bypass, settings: LinkerdSettings) -> Rendered | Unsupported:
    return Rendered(annotations=listed("config.linkerd.io/skip-{}-ports", intent))
