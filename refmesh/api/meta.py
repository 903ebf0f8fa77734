"""What every object has: name, namespace, age. One that cannot be used becomes a `Rejected` with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field

__all__ = ["Meta", "Rejected", "short_host"]


@dataclass(frozen=True)
class Meta:
    """Identity of an object. `created` is RFC 3339 UTC, so that older sorts first as text."""

    kind: str
    namespace: str
    name: str
    created: str = ""
    generation: int = 0

    @classmethod
    def read(cls, obj: Any, kind: str) -> Meta:
        """The metadata of an object as the API server sends it."""
        metadata = Field(obj, "").get("metadata")
        return cls(
            kind=kind,
            namespace=metadata.get("namespace").text("default"),
            name=metadata.get("name").text(),
            created=metadata.get("creationTimestamp").text(""),
            generation=metadata.get("generation").integer(0, high=2**63 - 1),
        )

    @property
    def title(self) -> str:
        """How people call it: `VirtualService shop/reviews`."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def age_key(self) -> tuple[str, str, str]:
        """Sorts the older first, then by namespace and name: who wins a conflict."""
        return (self.created, self.namespace, self.name)


@dataclass(frozen=True)
class Rejected:
    """An object that is not in force, and why. Everything else goes on without it."""

    meta: Meta
    reason: str


def short_host(host: str, namespace: str, domain: str) -> str:
    """The full name of a host written in an object of `namespace`: `reviews` and `reviews.shop` are services there.

    A wildcard is what it says, but for `*.shop.svc`: every service of a namespace.
    """
    parts = host.lower().rstrip(".").split(".")
    if parts[0] == "*" and not (len(parts) == 3 and parts[2] == "svc"):
        return ".".join(parts)
    if len(parts) == 1:
        return f"{parts[0]}.{namespace}.svc.{domain}"
    if len(parts) == 2 or (len(parts) == 3 and parts[2] == "svc"):
        return f"{parts[0]}.{parts[1]}.svc.{domain}"
    return ".".join(parts)
