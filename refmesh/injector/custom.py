"""What others add to an injected pod: the mesh's templates, and the user's own words on the proxy's container. Pure.

Templates are merged in two parts: over the pod as it came (`based`), so that what they say of its own containers is
injected like the pod's own words, probes and hooks above all; and over the mesh's containers and volumes (`whole`).

As in Istio, a container of the pod that is called as the proxy's is no container of its own: what it says (resources,
environment, lifecycle, image, …) is merged over the proxy, after all templates. Its image may be `auto`: the mesh's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from refmesh.injector.containers import volumes
from refmesh.injector.operations import Operation, add, apply_operations
from refmesh.injector.overlay import merged
from refmesh.injector.policy import INIT, PROXY, is_complete

__all__ = ["based", "split", "whole"]

_GROUPS = ("initContainers", "containers")
_OF_MESH = {group: frozenset({INIT, PROXY}) for group in _GROUPS} | {
    "volumes": frozenset(one["name"] for one in volumes())
}
"""What the mesh puts into a pod, by list and name."""
_AUTO = {None, "", "auto"}


def split(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any] | None]:
    """Take the user's words on the proxy out of a pod's specification. Raises ValueError."""
    found = [one for group in _GROUPS for one in spec.get(group) or () if _is_words(one)]
    if not found:
        return spec, None
    if len(found) > 1:
        raise ValueError(f"spec: there are several containers called {PROXY}, and the pod has one proxy")
    rest = {group: [one for one in spec.get(group) or () if not _is_words(one)] for group in _GROUPS}
    if not rest["containers"]:
        raise ValueError(f"spec.containers: a pod needs one of its own beside {PROXY}")
    own = dict(found[0])
    own.pop("restartPolicy", None)  # it says which form the proxy has, and that is known
    if own.get("image") in _AUTO:
        # The API server has filled in how an image called so would be pulled.
        own.pop("image", None)
        own.pop("imagePullPolicy", None)
    return {**spec, **rest}, own


def _is_words(container: Mapping[str, Any]) -> bool:
    return container.get("name") == PROXY and not is_complete(container)


def based(
    pod: Mapping[str, Any], templates: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return a pod with what templates say of its own; and what they say of the mesh's, for `whole`.

    Raises ValueError where one adds to a container that there is not.
    """
    result, over = pod, list[Mapping[str, Any]]()
    for name, template in templates:
        own, ours = _parted(template["spec"])
        over.append(ours)
        result = merged(result, {**template, "spec": own})
        for group in _GROUPS:
            for container in result["spec"].get(group) or ():
                if not container.get("image"):
                    raise ValueError(
                        f"template {name} adds to container {container['name']} of {group}, which the pod does not have"
                    )
    return result, over


def _parted(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    rest, ours = dict(spec), dict[str, Any]()
    for field, names in _OF_MESH.items():
        items = spec.get(field) or ()
        if said := [one for one in items if one["name"] in names]:
            ours[field], rest[field] = said, [one for one in items if one["name"] not in names]
            if not rest[field]:
                del rest[field]
    return rest, ours


def whole(
    pod: Mapping[str, Any],
    operations: Sequence[Operation],
    over: Sequence[Mapping[str, Any]],
    own: Mapping[str, Any] | None,
    *,
    bare: bool,
) -> list[Operation]:
    """Return operations that inject a pod and merge the rest over it. Raises ValueError.

    `bare`: the pod that they are for has no metadata.
    """
    result = copy.deepcopy(dict(pod))
    apply_operations(result, operations)
    for spec in [*over, *([] if own is None else [{"containers": [own]}])]:
        result = merged(result, {"spec": _addressed(spec, result["spec"])})
    metadata = result["metadata"]
    _check_whole(result["spec"])
    return [
        *([add("/metadata", {})] if bare else []),
        add("/metadata/labels", metadata["labels"]),
        add("/metadata/annotations", metadata["annotations"]),
        {"op": "replace", "path": "/spec", "value": result["spec"]},
    ]


def _check_whole(spec: Mapping[str, Any]) -> None:
    """Raises ValueError where merging took the mesh out of a pod, which would go on saying that it is in it."""
    inits = [one["name"] for one in spec.get("initContainers") or ()]
    others = [one["name"] for one in spec.get("containers") or ()]
    if INIT not in inits or PROXY not in inits + others:
        raise ValueError(f"templates take {INIT} or {PROXY} out of the pod")


def _addressed(over: Mapping[str, Any], spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lead what is said of the proxy to where the proxy is, which is for the mesh and the pod to decide."""
    said = [one for group in _GROUPS for one in over.get(group) or () if one["name"] == PROXY]
    if not said:
        return over
    native = any(one["name"] == PROXY for one in spec.get("initContainers") or ())
    home = "initContainers" if native else "containers"
    rest = {group: [one for one in over[group] or () if one["name"] != PROXY] for group in _GROUPS if group in over}
    return {**over, **rest, home: [*said, *rest.get(home, [])]}
