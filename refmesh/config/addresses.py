"""Whose an address is, for endpoints that name no pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from refmesh.config.latest import Latest

if TYPE_CHECKING:
    from refmesh.config.model import Key, Pod, Service

__all__ = ["by_address", "of_pods", "of_services"]

_latest = Latest["Mapping[Key, Pod]", "Mapping[Key, Pod]"]()
_latest_of_pods = Latest["Mapping[Key, Pod]", "frozenset[str]"]()
_latest_of_services = Latest["Mapping[Key, Service]", "frozenset[str]"]()


def by_address(pods: Mapping[Key, Pod]) -> Mapping[Key, Pod]:
    """Pods by namespace and address, but for those that share their Node's.

    Kept until it is asked of other pods: every cluster has endpoints that name none, those of the API server, and most
    snapshots have the very pods of the one before.
    """
    return _latest.made(pods, _indexed)


def of_pods(pods: Mapping[Key, Pod]) -> frozenset[str]:
    """The addresses of pods of all namespaces, but for those that share their Node's. Kept as above."""
    return _latest_of_pods.made(pods, lambda found: frozenset(address for _, address in by_address(found)))


def of_services(services: Mapping[Key, Service]) -> frozenset[str]:
    """The addresses at which Services are called. Kept until it is asked of other Services."""
    return _latest_of_services.made(
        services, lambda found: frozenset(address for service in found.values() for address in service.addresses)
    )


def _indexed(pods: Mapping[Key, Pod]) -> Mapping[Key, Pod]:
    return {(pod.namespace, pod.address): pod for pod in pods.values() if pod.address and not pod.on_node}
