"""The listeners for the addresses of a port of a Service, as some clients see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from refmesh.api.routing import Destination
from refmesh.config.model import Service, ServicePort
from refmesh.discovery import outbound
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.limits import StreamHandling
from refmesh.discovery.variants import Recipe

__all__ = ["recipes"]


def recipes(
    attachments: Attachments,
    service: Service,
    port: ServicePort,
    namespace: str = "",
    labels: Mapping[str, str] | None = None,
) -> Iterator[Recipe]:
    """How they are made, for clients of a namespace ("": of none in particular) whose pods have these labels."""
    host = service.host(attachments.settings.domain)
    streams = attachments.streams(host, port.port, namespace, labels)
    handling = StreamHandling.of(attachments.policy_of(Destination(host), port.port, namespace))
    for address in service.addresses:
        if ":" in address:
            continue  # the redirect rules capture IPv4 only
        here = tuple(stream for stream in streams if stream.at(address))
        spec = outbound.OutboundListener(address, port.port, port.protocol, host, streams=here, handling=handling)
        yield Recipe(spec.name, spec, partial(outbound.outbound_listener, spec))
