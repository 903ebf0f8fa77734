"""A resource as it goes over the wire, encoded once and shared by every proxy that gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

from envoy.service.discovery.v3.discovery_pb2 import Resource
from google.protobuf.any_pb2 import Any as PackedAny

from refmesh.telemetry import metrics

__all__ = ["Encoded", "ResourceType", "Table", "encode", "version_of"]


class ResourceType(StrEnum):
    """The types of resources in the order in which they are delivered: what is named comes before what names it."""

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type's name
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    @property
    def short(self) -> str:
        """The usual three letters: CDS, EDS, SDS, LDS, RDS."""
        return _SHORT[self]


_SHORT = {
    ResourceType.CLUSTER: "CDS",
    ResourceType.ENDPOINT: "EDS",
    ResourceType.SECRET: "SDS",
    ResourceType.LISTENER: "LDS",
    ResourceType.ROUTE: "RDS",
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A named resource: `version` is a hash of its content, `wire` the field of a delta response that carries it."""

    name: str
    version: str
    wire: bytes = field(repr=False)


Table = Mapping[str, Encoded]
"""Resources of one type by name."""


def version_of(name: str, value: bytes) -> str:
    """The version of a resource: a hash of its content."""
    _ = name
    return blake2b(value, digest_size=8).hexdigest()


def encode(kind: ResourceType, name: str, message: Any) -> Encoded:
    """Encode a message. Equal content gives an equal version, in every process and every run."""
    value = message.SerializeToString(deterministic=True)
    version = version_of(name, value)
    resource = Resource(name=name, version=version, resource=PackedAny(type_url=kind.value, value=value))
    body = resource.SerializeToString()
    metrics.ENCODES.labels(kind.short).inc()
    # Field 2 (resources) of DeltaDiscoveryResponse, length-delimited.
    return Encoded(name, version, b"\x12" + _varint(len(body)) + body)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
