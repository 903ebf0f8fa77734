"""The definitions of the kinds that refmesh reads: put on the cluster, or kept as somebody else has put them there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from refmesh.api.gateway import GROUP
from refmesh.api.kinds import KINDS, Kind
from refmesh.errors import EnvironmentProblem
from refmesh.install import gateway_api, manifests
from refmesh.install.apply import apply, is_mine, wait_for
from refmesh.install.crds import crds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from refmesh.install.options import Options
    from refmesh.kubeclient import Kube

__all__ = ["API", "preflight", "present", "put_gateway_api", "put_own", "served", "unread"]

Object = dict[str, Any]
API = "apiextensions.k8s.io/v1"
_ROUTES = f"httproutes.{GROUP}"
"""Where the cluster has this one, it has Gateway API."""


async def present(kube: Kube, kinds: Iterable[Kind]) -> list[tuple[Kind, Object | None]]:
    """Return each kind with its definition on the cluster, if it has one there."""

    async def of(kind: Kind) -> tuple[Kind, Object | None]:
        return kind, await kube.get(API, "customresourcedefinitions", f"{kind.plural}.{kind.group}")

    return await asyncio.gather(*map(of, kinds))


def served(definition: Mapping[str, Any]) -> list[str]:
    """Return the versions in which the API server has the objects of a definition."""
    return [version["name"] for version in definition["spec"]["versions"] if version["served"]]


def unread(kind: Kind, definition: Mapping[str, Any]) -> str:
    """Return why nobody would read the objects of a kind that is defined like this; empty where they are read."""
    found, known = served(definition), [version.partition("/")[2] for version in kind.api_versions]
    if not set(known).isdisjoint(found):
        return ""
    said = ", ".join(found) or "nothing"
    return f"{definition['metadata']['name']} is served as {said}, and refmesh reads {' or '.join(known)}"


async def preflight(kube: Kube, gateway_crds: Path | None) -> None:
    """Raises `EnvironmentProblem` where what is written in a kind would be taken and never be in force.

    `gateway_crds`: what the user gives in place of the cluster's definitions of Gateway API.
    """
    found = {kind: definition for kind, definition in await present(kube, KINDS) if definition is not None}
    kept_api = gateway_crds is None and any(kind.name == "HTTPRoute" for kind in found)
    kept = (
        (kind, definition)
        for kind, definition in found.items()
        if (not is_mine(definition) if kind.of_istio else kept_api)
    )
    for problem in filter(None, (unread(kind, definition) for kind, definition in kept)):
        raise EnvironmentProblem(
            f"{problem}: none of its objects would be in force.",
            fix="Bring that definition up to date; or delete it, and its objects with it, for refmesh to put its own.",
        )


async def put_own(kube: Kube, report: Callable[[str], None]) -> None:
    """Install the Istio-shaped kinds; a definition that somebody else put there is left as it is."""
    names = [definition["metadata"]["name"] for definition in crds()]
    there = await asyncio.gather(*(kube.get(API, "customresourcedefinitions", name) for name in names))
    foreign = {obj["metadata"]["name"] for obj in there if obj is not None and not is_mine(obj)}
    for name in sorted(foreign):
        report(f"kept {name}: the cluster has it from elsewhere")
    await _put(kube, [crd for crd in crds() if crd["metadata"]["name"] not in foreign], report)


async def put_gateway_api(kube: Kube, path: Path | None, options: Options, report: Callable[[str], None]) -> None:
    """Install Gateway API's CRDs unless the cluster has them; without any, the mesh works with Istio's kinds alone."""
    there = await kube.get(API, "customresourcedefinitions", _ROUTES)
    if there is not None and path is None:
        await _offer_gateways(kube, options)
        report("Gateway API: the cluster has it")
        return
    found, where = await asyncio.to_thread(gateway_api.definitions, path)
    if not found:
        report(f"Gateway API: not installed, {where}; HTTPRoute is not understood. Give --gateway-api-crds FILE")
        return
    for definition in found:
        metadata = definition["metadata"]
        metadata["labels"] = (metadata.get("labels") or {}) | manifests.LABELS
    await _put(kube, found, lambda _: None)
    await _offer_gateways(kube, options)
    report(f"Gateway API: {len(found)} kinds from {where}")


async def _put(kube: Kube, definitions: Sequence[Object], report: Callable[[str], None]) -> None:
    await asyncio.gather(*(apply(kube, definition) for definition in definitions))
    await asyncio.gather(
        *(
            wait_for(kube, crd, _established, timeout=30.0, what=f"{crd['metadata']['name']} was not established")
            for crd in definitions
        )
    )
    report(f"{len(definitions)} kinds")


def _established(state: Object) -> bool:
    conditions = (state.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


async def _offer_gateways(kube: Kube, options: Options) -> None:
    """Put the class of Gateways there, if they are to be opened."""
    if options.gateways == "on":
        await apply(kube, manifests.gateway_class())
