"""How the workload of a Gateway is called: Deployment, Service and ServiceAccount have one name (GEP-1762)."""

from __future__ import annotations

from hashlib import blake2b

from refmesh.api.gateway import GATEWAY_LABEL, Gateway, cut, fits
from refmesh.api.ports import RESERVED_PORTS

__all__ = ["CLASS_LABEL", "GATEWAY_LABEL", "bound_port", "label_value", "usable_port", "workload_name"]

CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
_FIRST_FREE = 1024
_SHIFTED = range(62000, 62000 + _FIRST_FREE)


def workload_name(gateway: Gateway) -> str:
    """The name of what is made for a Gateway; a long one is cut, and told from others by a hash."""
    return _short(f"{gateway.meta.name}-{gateway.class_name}".replace(".", "-"), gateway)


def label_value(gateway: Gateway) -> str:
    """The Gateway's name as a label can carry it."""
    return _short(gateway.meta.name, gateway)


def _short(name: str, gateway: Gateway) -> str:
    if fits(name):
        return name
    digest = blake2b(f"{gateway.meta.name} {gateway.class_name}".encode(), digest_size=4).hexdigest()
    return f"{cut(name)}{digest}"


def bound_port(port: int) -> int:
    """The port that the proxy opens for a port of the Service: a process without rights has those from 1024 up."""
    return port if port >= _FIRST_FREE else _SHIFTED[port]


def usable_port(port: int) -> bool:
    """Whether a Gateway may have the port: some are the proxy's own, some stand for the first 1024."""
    return port not in RESERVED_PORTS and port not in _SHIFTED
