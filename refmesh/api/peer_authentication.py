"""PeerAuthentication: whether a workload accepts plaintext, mutual TLS or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from refmesh.api.fields import Field, Invalid
from refmesh.api.meta import Meta

__all__ = ["MtlsMode", "PeerAuthentication"]


class MtlsMode(StrEnum):
    """UNSET leaves the decision to the next wider policy: port, workload, namespace, mesh, PERMISSIVE."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


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
            # Istio ignores port rules without a selector in silence; saying so is kinder.
            raise Invalid("spec.portLevelMtls", "needs a spec.selector, because ports belong to workloads")
        selector = {key: value.text("") for key, value in labels.items()}
        return cls(meta, _mode(spec.get("mtls")), MappingProxyType(selector), MappingProxyType(ports))


def _mode(mtls: Field) -> MtlsMode:
    return MtlsMode(mtls.only("mode").get("mode").choice(*MtlsMode, default="UNSET"))


def _port(key: str, item: Field) -> int:
    if not key.isascii() or not key.isdigit() or len(key) > 5 or not 0 < int(key) <= 65535:
        raise Invalid(item.path, "must be named by a port number")
    return int(key)
