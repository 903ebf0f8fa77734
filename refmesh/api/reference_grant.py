"""ReferenceGrant of Gateway API: the owner of a namespace lets objects of another one refer to its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta

__all__ = ["ReferenceGrant"]


@dataclass(frozen=True)
class ReferenceGrant:
    """Who (group, kind, namespace) may refer to what (group, kind, name; "" is every name) in the grant's namespace."""

    meta: Meta
    sources: tuple[tuple[str, str, str], ...]
    targets: tuple[tuple[str, str, str], ...]

    @classmethod
    def parse(cls, obj: Any, domain: str) -> ReferenceGrant:
        """Read the object. Raises `Invalid`."""
        _ = domain
        meta = Meta.read(obj, "ReferenceGrant")
        spec = Field(obj, "").get("spec").only("from", "to")
        sources = tuple(
            (item.get("group").text(""), item.get("kind").text(), item.get("namespace").text())
            for item in spec.get("from").each()
        )
        targets = tuple(
            (item.get("group").text(""), item.get("kind").text(), item.get("name").text(""))
            for item in spec.get("to").each()
        )
        if not sources or not targets:
            raise Invalid("spec.from" if not sources else "spec.to", "needs at least one entry")
        return cls(meta, sources, targets)

    def allows(self, kind: str, namespace: str, name: str, target: str = "Service") -> bool:
        """Whether an object of this kind in `namespace` may refer to the Service (or Secret) of that name."""
        return ("gateway.networking.k8s.io", kind, namespace) in self.sources and any(
            (group, other) == ("", target) and allowed in {"", name} for group, other, allowed in self.targets
        )
