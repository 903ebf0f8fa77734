"""Which pod has an address, for endpoints that name none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from refmesh.config.latest import Latest

if TYPE_CHECKING:
    from refmesh.config.model import Key, Pod

__all__ = ["by_address"]

_latest = Latest["Mapping[Key, Pod]", "Mapping[Key, Pod]"]()


def by_address(pods: Mapping[Key, Pod]) -> Mapping[Key, Pod]:
    """Pods by namespace and address, but for those that share their Node's.

    Kept until it is asked of other pods: every cluster has endpoints that name none, those of the API server, and most
    snapshots have the very pods of the one before.
    """
    return _latest.made(pods, _indexed)


def _indexed(pods: Mapping[Key, Pod]) -> Mapping[Key, Pod]:
    return {(pod.namespace, pod.address): pod for pod in pods.values() if pod.address and not pod.on_node}
