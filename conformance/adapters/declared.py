"""An adapter as data: what a mesh has words for, and what it has none for. The short way to one of your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.intents import Intent
from fixtures.kube import Kube
from reports.errors import UsageProblem

from .base import Proxy, Rendered, Unsupported
from .installed import deployment_problem, deployment_version
from .pages import ENVOY, dump_pages
from .settings import Place
from .words import NO_WORDS

__all__ = ["Declared", "Place", "Proxy", "Rendered", "Unsupported"]

Words = Callable[[Any], Rendered | Unsupported]


@dataclass(frozen=True)
class Declared:
    """A mesh, by tables. Pure but for `version`, `problem` and `dump`, which read the cluster."""

    name: str
    """What the user types after `--mesh`."""
    title: str
    deployment: Place
    """Of the control plane."""
    words: Mapping[type[Intent], Words]
    """By type of intent: a function that writes it in the mesh's objects, labels and annotations."""
    cannot: Mapping[type[Intent], str] = field(default_factory=dict)
    """By type of intent: why the mesh has no words for it. The report says so."""
    proxy: Proxy | None = None
    identity_template: str = ""
    """What certificates carry, with `{namespace}` and `{service_account}` in it."""
    fix: str = "install it first"
    """What to do where the control plane is not there."""

    def __post_init__(self) -> None:
        """Find what would else show only where it is used."""
        for intent, words in self.words.items():
            if not callable(words):
                raise UsageProblem(
                    f"the adapter {self.name}: its words for {_named(intent)} are {words!r}",
                    fix="give a function that takes the intent and returns Rendered or Unsupported",
                )
        for intent, reason in self.cannot.items():
            if not isinstance(reason, str):
                raise UsageProblem(
                    f"the adapter {self.name}: why it cannot {_named(intent)} is {reason!r}", fix="give a sentence"
                )

    def render(self, intent: Intent) -> Rendered | Unsupported:
        """By the tables."""
        words = self.words.get(type(intent))
        if words is not None:
            return words(intent)
        return Unsupported(self.cannot.get(type(intent), f"{NO_WORDS} {type(intent).__name__}"))

    def identity(self, namespace: str, service_account: str) -> str | Unsupported:
        """By the template."""
        if not self.identity_template:
            return Unsupported("the adapter declares no identities")
        return self.identity_template.format(namespace=namespace, service_account=service_account)

    def control_plane(self) -> tuple[str, str] | None:
        """The Deployment."""
        return self.deployment

    def version(self, kube: Kube) -> str:
        """The version of the control plane."""
        return deployment_version(kube, self.deployment)

    def problem(self, kube: Kube) -> str:
        """Whether the control plane is there and available."""
        return deployment_problem(kube, self.deployment, self.title, self.fix)

    def dump(self, kube: Kube, namespace: str, pod: str) -> Mapping[str, str]:
        """Envoy's own pages, where the proxy is an Envoy with an admin port."""
        if self.proxy is None or self.proxy.admin_port is None:
            return {}
        return dump_pages(kube, namespace, pod, self.proxy.container, self.proxy.admin_port, ENVOY)


def _named(intent: object) -> str:
    return getattr(intent, "__name__", repr(intent))
