"""Which workloads a policy speaks for: those with certain labels, those behind a Service, or its whole scope.

What stands in for a policy that names Gateways, which refmesh cannot read, speaks for their proxies alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.gateway import GATEWAY_LABEL, cut, fits

__all__ = ["EVERYTHING", "Selection"]

_UNREAD = {
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("networking.istio.io", "ServiceEntry"),
}
"""Targets that mean what is no sidecar. Any other may be a Service, misspelt: then nobody knows whom it is for."""
_NO_LABELS: tuple[Any, ...] = (None, {"matchLabels": None}, {"matchLabels": {}})


@dataclass(frozen=True, slots=True)
class Selection:
    """Without labels and targets: the namespace, in the root namespace the mesh."""

    labels: tuple[tuple[str, str], ...] = ()
    services: tuple[str, ...] = ()
    """Names of Services in the policy's namespace."""
    gateways: tuple[str, ...] = ()
    """Names of Gateways there."""
    elsewhere: bool = False
    """It names what no workload is behind: without Services and Gateways it speaks for nobody."""

    @classmethod
    def read(cls, spec: Field) -> Selection:
        """Read `selector`, `targetRef` and `targetRefs`. Raises `Invalid`."""
        labels = _labels(spec.get("selector").only("matchLabels"))
        references = [
            *([spec.get("targetRef")] if spec.get("targetRef").present else []),
            *spec.get("targetRefs").each(),
        ]
        if labels and references:
            raise Invalid("spec.targetRefs", "cannot be combined with spec.selector")
        return cls(labels, tuple(sorted(_service(item) for item in references)))

    @classmethod
    def lenient(cls, spec: Field) -> Selection:
        """What can be read of it; where nothing can, the whole scope."""
        known = {key: spec.get(key).value for key in ("selector", "targetRef", "targetRefs")}
        if isinstance(known["selector"], dict):
            known["selector"] = {"matchLabels": known["selector"].get("matchLabels")}
        try:
            return cls.read(Field(known, "spec"))
        except Invalid:
            return _of_other_targets(known) or cls()

    def picks(self, labels: Mapping[str, str], services: Iterable[str], *, near: bool = True) -> bool:
        """Whether a pod with these labels, behind these Services, is meant. `near`: it is in the policy's namespace."""
        if self.services or self.gateways or self.elsewhere:
            behind = not set(self.services).isdisjoint(services)
            return near and (behind or any(_opens(name, labels.get(GATEWAY_LABEL, "")) for name in self.gateways))
        return all(labels.get(key) == value for key, value in self.labels)


EVERYTHING = Selection()
"""The policy's whole scope."""


def _labels(selector: Field) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value.text("")) for key, value in selector.get("matchLabels").entries().items()))


def _service(item: Field) -> str:
    item.only("group", "kind", "name", "namespace")
    if item.get("group").text("") not in {"", "core"} or item.get("kind").text() != "Service":
        raise Invalid(f"{item.path}.kind", "must be Service (of the core group); other targets are not supported")
    if item.get("namespace").text(""):
        raise Invalid(f"{item.path}.namespace", "is not supported: a policy speaks for its own namespace")
    return item.get("name").text()


def _of_other_targets(known: Mapping[str, Any]) -> Selection | None:
    """The selection by targets of which not all are Services; None where it cannot be read what they are."""
    single, several = known["targetRef"], known["targetRefs"] or []
    if known["selector"] not in _NO_LABELS or not isinstance(several, list):
        return None
    found: dict[str, list[str]] = {}
    for item in [*([single] if single is not None else []), *several]:
        kind, name = (item.get("kind"), item.get("name")) if isinstance(item, dict) else (None, None)
        if not isinstance(kind, str) or not kind or not isinstance(name, str) or not name:
            return None
        group = item.get("group")
        if kind == "Service" and (group not in {None, "", "core"} or item.get("namespace")):
            return None  # which one is meant is anybody's guess
        if kind != "Service" and (group, kind) not in _UNREAD:
            return None
        found.setdefault(kind, []).append(name)
    return Selection((), tuple(sorted(found.get("Service", ()))), tuple(sorted(found.get("Gateway", ()))), bool(found))


def _opens(name: str, label: str) -> bool:
    """Whether a pod with this label of Gateways may be one of the Gateway's; a long name shows in none as a whole."""
    return label == name if fits(name) else label.startswith(cut(name))
