"""Takes back what the control plane said in statuses: of a mesh that is gone nothing is in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from refmesh.api.gateway import GROUP
from refmesh.api.kinds import KINDS, Kind
from refmesh.config.gateway_status import without_gateway_status
from refmesh.config.ingress import CONTROLLER
from refmesh.config.model import Key, key_of
from refmesh.config.patching import patch_status
from refmesh.config.standing import without_standing
from refmesh.install.manifests import GATEWAY_CLASS
from refmesh.kubeclient import Conflict, KubeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from refmesh.kubeclient import Kube

__all__ = ["forget_statuses"]

_AT_ONCE = 8


async def forget_statuses(kube: Kube, report: Callable[[str], None], *, group: str = "") -> None:
    """Clear the statuses of the objects that are left, of Istio's kinds and Gateway API's; what others wrote stays.

    `group`: of its kinds alone.
    """
    turn = asyncio.Semaphore(_AT_ONCE)
    classes = await _own_classes(kube)

    async def forget(kind: Kind, obj: dict[str, Any], *, again: bool = True) -> str:
        patch = without_standing(obj) if kind.of_istio else without_gateway_status(kind.name, obj, classes)
        if patch is None:
            return ""
        where = (kind.api_version, kind.plural)
        try:
            async with turn:
                await patch_status(kube, where, key_of(obj), obj, patch)
        except KubeError as error:
            if isinstance(error, Conflict) and again:
                return await forget_anew(kind, key_of(obj))
            return error.problem if error.status != 404 else ""
        return ""

    async def forget_anew(kind: Kind, key: Key) -> str:
        """Somebody has changed the object since it was read."""
        try:
            obj = await kube.get(kind.api_version, kind.plural, key[1], key[0])
        except KubeError as error:
            return error.problem
        return await forget(kind, obj, again=False) if obj is not None else ""

    async def of(kind: Kind) -> list[str]:
        try:
            objects = await kube.list(kind.api_version, kind.plural)
        except KubeError:
            return []  # such as of a kind that is gone
        return await asyncio.gather(*(forget(kind, obj) for obj in objects))

    spoken = (kind for kind in KINDS if (kind.of_istio or kind.group == GROUP) and group in {"", kind.group})
    answers = await asyncio.gather(*map(of, spoken))
    if problems := [one for found in answers for one in found if one]:
        report(f"{len(problems)} objects keep a status that refmesh wrote: {problems[0]}")


async def _own_classes(kube: Kube) -> frozenset[str]:
    """The names of refmesh's GatewayClasses; its own is gone already, unless somebody else has one of that name."""
    try:
        found = await kube.list(f"{GROUP}/v1", "gatewayclasses")
    except KubeError:
        found = []  # such as where there are none
    specs = {item["metadata"]["name"]: item.get("spec") or {} for item in found}
    own = {name for name, spec in specs.items() if spec.get("controllerName") == CONTROLLER}
    return frozenset(own if GATEWAY_CLASS in specs else own | {GATEWAY_CLASS})
