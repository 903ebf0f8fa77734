"""Writes the status of one object, if it is still as it was when its status was thought of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refmesh.config.model import Key
from refmesh.config.served import Versioned, version_of
from refmesh.kubeclient import Kube

__all__ = ["patch_status"]


async def patch_status(
    kube: Kube, kind: Versioned, key: Key, raw: Mapping[str, Any], status: Mapping[str, Any]
) -> None:
    """Merge it into the status of an object of a kind. Raises what a request may end in.

    A `Conflict` means that a newer object is on its way to us.
    """
    version = (raw.get("metadata") or {}).get("resourceVersion")
    body = {"metadata": {"resourceVersion": version}, "status": status}
    await kube.patch(version_of(kind, raw), kind.plural, key[1], body, key[0], subresource="status")
