"""`Gateway` with the class of a mesh, and the `HTTPRoute` behind it."""

from __future__ import annotations

from typing import Any

from conformance.adapters.base import Rendered
from conformance.adapters.words import manifest
from conformance.intents import Ingress

from .base import VERSION

__all__ = ["ingress"]


def ingress(intent: Ingress, class_name: str, account: str = "", version: str = VERSION) -> Rendered:
    """The gateway of a class. `account`: what its proxies run as, "" where that cannot be told."""
    listeners: list[dict[str, Any]] = [{"name": "http", "port": 80, "protocol": "HTTP", "hostname": intent.host}]
    if intent.secret:
        tls = {"mode": "Terminate", "certificateRefs": [{"name": intent.secret}]}
        listeners.append({"name": "https", "port": 443, "protocol": "HTTPS", "hostname": intent.host, "tls": tls})
    spec = {"gatewayClassName": class_name, "listeners": listeners}
    route = {
        "parentRefs": [{"name": intent.name}],
        "hostnames": [intent.host],
        "rules": [{"backendRefs": [{"name": intent.service, "port": intent.port}]}],
    }
    return Rendered(
        objects=(
            manifest(version, "Gateway", intent.name, intent.namespace, spec),
            manifest(version, "HTTPRoute", intent.name, intent.namespace, route),
        ),
        account=account,
    )
