"""Which workloads a policy speaks for: those with certain labels, those behind a Service, or its whole scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from refmesh.api.fields import Field, Invalid

__all__ = ["EVERYTHING", "Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Without labels and Services: the namespace, in the root namespace the mesh."""

    labels: tuple[tuple[str, str], ...] = ()
    services: tuple[str, ...] = ()
    """Names of Services in the policy's namespace."""

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
            return cls()

    def picks(self, labels: Mapping[str, str], services: Iterable[str]) -> bool:
        """Whether a pod with these labels, behind these Services, is meant."""
        if self.services:
            return not set(self.services).isdisjoint(services)
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
