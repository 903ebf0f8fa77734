"""PeerAuthentication: whether a workload accepts plaintext, mutual TLS or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta
from refmesh.api.selection import Selection

__all__ = ["MtlsMode", "PeerAuthentication"]


class MtlsMode(StrEnum):
    """UNSET leaves the decision to the next wider policy: port, workload, namespace, mesh, PERMISSIVE."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


_LAX = (None, MtlsMode.UNSET, MtlsMode.DISABLE, MtlsMode.PERMISSIVE)
_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_PORTS: Mapping[int, MtlsMode] = MappingProxyType({})


@dataclass(frozen=True)
class PeerAuthentication:
    """One policy. Without a selector it speaks for its namespace, in the root namespace for the mesh."""

    meta: Meta
    mode: MtlsMode = MtlsMode.UNSET
    selector: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    ports: Mapping[int, MtlsMode] = field(default_factory=lambda: _NO_PORTS)

    @classmethod
    def parse(cls, obj: Any, domain: str) -> PeerAuthentication:  # noqa: ARG003 - one signature for every kind
        """Read the object. Raises `Invalid`."""
        meta = Meta.read(obj, "PeerAuthentication")
        spec = Field(obj, "").get("spec").only("selector", "mtls", "portLevelMtls")
        labels = spec.get("selector").only("matchLabels").get("matchLabels").entries()
        ports = {_port(key, item): _mode(item) for key, item in spec.get("portLevelMtls").entries().items()}
        if ports and not labels:
            # As in Istio: its CustomResourceDefinition refuses these too.
            raise Invalid("spec.portLevelMtls", "needs a spec.selector, because ports belong to workloads")
        selector = {key: value.text("") for key, value in labels.items()}
        return cls(meta, _mode(spec.get("mtls")), MappingProxyType(selector), MappingProxyType(ports))

    @classmethod
    def closed(cls, obj: Any, reason: str, domain: str) -> PeerAuthentication:  # noqa: ARG003 - one signature for every kind
        """In place of one that cannot be read but says STRICT at some level: STRICT at every port of what it selects.

        So for its whole scope where not even the selector can be read. Raises `Invalid` where no level says STRICT.
        """
        spec = Field(obj, "").get("spec")
        ports = spec.get("portLevelMtls").value
        levels = [spec.get("mtls").value, *(ports.values() if isinstance(ports, dict) else [ports])]
        if not any(map(_may_be_strict, levels)):
            raise Invalid(spec.path, "does not say STRICT")
        return cls(Meta.read(obj, "PeerAuthentication"), MtlsMode.STRICT, dict(Selection.lenient(spec).labels))


def _may_be_strict(level: Any) -> bool:
    """Whether a level, in whatever form, says STRICT, or what may be meant so."""
    return (level.get("mode") if isinstance(level, dict) else level) not in _LAX


def _mode(mtls: Field) -> MtlsMode:
    return MtlsMode(mtls.only("mode").get("mode").choice(*MtlsMode, default="UNSET"))


def _port(key: str, item: Field) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 5 or not 0 < int(key) <= 65535:
        raise Invalid(item.path, "must be named by a port number")
    return int(key)
