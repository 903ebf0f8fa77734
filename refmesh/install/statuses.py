"""Takes back what the control plane said in statuses: of a mesh that is gone nothing is in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from refmesh.api.gateway import GROUP
from refmesh.api.kinds import BY_NAME, KINDS, Kind
from refmesh.config.gateway_status import without_gateway_status
from refmesh.config.ingress import CONTROLLER
from refmesh.config.model import Key, key_of
from refmesh.config.patching import patch_status
from refmesh.config.served import listed, version_of
from refmesh.config.standing import without_standing
from refmesh.install.manifests import GATEWAY_CLASS
from refmesh.kubeclient import LOST, Conflict, KubeError, NotServed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from refmesh.kubeclient import Kube

__all__ = ["forget_statuses"]

_AT_ONCE = 8


async def forget_statuses(kube: Kube, report: Callable[[str], None], *, only: Collection[str] | None = None) -> None:
    """Clear the statuses of the objects that are left, of Istio's kinds and Gateway API's; what others wrote stays.

    `only`: of the kinds of these names. `report` is told what is left.
    """
    turn, unread = asyncio.Semaphore(_AT_ONCE), list[str]()
    classes = await _own_classes(kube, unread)

    async def forget(kind: Kind, obj: dict[str, Any], *, again: bool = True) -> str:
        patch = without_standing(obj) if kind.of_istio else without_gateway_status(kind.name, obj, classes)
        if patch is None:
            return ""
        try:
            async with turn:
                await patch_status(kube, kind, key_of(obj), obj, patch)
        except LOST as error:
            if isinstance(error, Conflict) and again:
                return await forget_anew(kind, version_of(kind, obj), key_of(obj))
            return "" if isinstance(error, KubeError) and error.status == 404 else _why(error)
        return ""

    async def forget_anew(kind: Kind, version: str, key: Key) -> str:
        """Somebody has changed the object since it was read."""
        try:
            obj = await kube.get(version, kind.plural, key[1], key[0])
        except LOST as error:
            return _why(error)
        return await forget(kind, obj, again=False) if obj is not None else ""

    async def of(kind: Kind) -> list[str]:
        objects = await _listed(kube, kind, unread)
        return await asyncio.gather(*(forget(kind, obj) for obj in objects))

    spoken = (kind for kind in KINDS if (kind.of_istio or kind.group == GROUP) and (only is None or kind.name in only))
    answers = await asyncio.gather(*map(of, spoken))
    if problems := [one for found in answers for one in found if one]:
        report(f"{len(problems)} objects keep a status that refmesh wrote: {problems[0]}")
    if unread:
        report(
            f"objects that could not be read may keep a status that refmesh wrote: {'; '.join(dict.fromkeys(unread))}"
        )


def _why(error: BaseException) -> str:
    """What went wrong with a request, in words."""
    return error.problem if isinstance(error, KubeError) else str(error) or type(error).__name__


async def _listed(kube: Kube, kind: Kind, unread: list[str]) -> list[dict[str, Any]]:
    """The objects of a kind, none of one that is gone; `unread` gets the kinds that cannot be read, and why."""
    try:
        return await listed(kube, kind)
    except NotServed:
        return []
    except LOST as error:
        unread.append(f"{kind.plural}: {_why(error)}")
        return []


async def _own_classes(kube: Kube, unread: list[str]) -> frozenset[str]:
    """The names of refmesh's GatewayClasses; its own is gone already, unless somebody else has one of that name."""
    found = await _listed(kube, BY_NAME["GatewayClass"], unread)
    if unread:
        return frozenset()
    specs = {item["metadata"]["name"]: item.get("spec") or {} for item in found}
    own = {name for name, spec in specs.items() if spec.get("controllerName") == CONTROLLER}
    return frozenset(own if GATEWAY_CLASS in specs else own | {GATEWAY_CLASS})
