"""Sidecar: what workloads may call that nobody has registered. Fields as in networking.istio.io/v1.

Of Istio's kind refmesh has the policy for outbound traffic. Every proxy knows every service, and `egress` may say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta
from refmesh.api.selection import EVERYTHING, Selection

__all__ = ["ALLOW_ANY", "REGISTRY_ONLY", "Sidecar"]

ALLOW_ANY, REGISTRY_ONLY = "ALLOW_ANY", "REGISTRY_ONLY"


@dataclass(frozen=True)
class Sidecar:
    """One configuration. Without a selection it speaks for its namespace, in the root namespace for the mesh."""

    meta: Meta
    selection: Selection = EVERYTHING
    allow_unknown: bool | None = None
    """Whether hosts may be called that are neither a Service's nor a ServiceEntry's; None leaves it to the mesh."""

    @classmethod
    def parse(cls, obj: Any, domain: str) -> Sidecar:  # noqa: ARG003 - one signature for every kind
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "Sidecar")
        spec = Field(obj, "").get("spec")
        spec.only("workloadSelector", "outboundTrafficPolicy", "egress")
        for listener in spec.get("egress").each():
            _everything(listener)
        policy = spec.get("outboundTrafficPolicy").only("mode")
        # Istio's own default of a policy that is there and says nothing.
        mode = policy.get("mode").choice(ALLOW_ANY, REGISTRY_ONLY, default=REGISTRY_ONLY)
        return cls(meta, _selection(spec), mode == ALLOW_ANY if policy.present else None)

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> Sidecar:  # noqa: ARG003 - one signature for every kind
        """In place of one that cannot be read: what it may want closed is closed.

        Raises `Invalid` where it wants nothing closed: then nothing stands in its place.
        """
        meta = Meta.read(obj, "Sidecar")
        spec = Field(obj, "").get("spec")
        policy = spec.get("outboundTrafficPolicy").value
        if policy is None or (isinstance(policy, dict) and policy.get("mode") == ALLOW_ANY):
            raise Invalid(spec.path, "wants nothing closed")
        try:
            return cls(meta, _selection(spec), allow_unknown=False)
        except Invalid:
            return cls(meta, allow_unknown=False)


def _selection(spec: Field) -> Selection:
    labels = spec.get("workloadSelector").only("labels").get("labels").entries()
    return Selection(tuple(sorted((key, value.text("")) for key, value in labels.items())))


def _everything(listener: Field) -> None:
    """A list of hosts that leaves no service out is what every proxy has anyway; Istio's users write it as well."""
    listener.only("hosts")
    hosts = listener.get("hosts").each()
    if not hosts:
        raise Invalid(f"{listener.path}.hosts", "is required")
    if not any(host.text() == "*/*" for host in hosts):
        raise Invalid(f"{listener.path}.hosts", "must have `*/*`: refmesh tells every proxy of every service")
