"""What others add to an injected pod: the mesh's templates, and the user's own words on the proxy's container. Pure.

As in Istio, a container of the pod that is called as the proxy's is no container of its own: what it says (resources,
environment, lifecycle, image, …) is merged over the proxy, after all templates. Its image may be `auto`: the mesh's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from refmesh.injector.operations import Operation, add, apply_operations
from refmesh.injector.overlay import merged
from refmesh.injector.policy import INIT, PROXY, is_complete

__all__ = ["split", "whole"]

_GROUPS = ("initContainers", "containers")
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


def whole(
    pod: Mapping[str, Any],
    operations: Sequence[Operation],
    templates: Sequence[tuple[str, Mapping[str, Any]]],
    own: Mapping[str, Any] | None,
) -> list[Operation]:
    """Return operations that inject a pod and merge the rest over it. Raises ValueError."""
    result = copy.deepcopy(dict(pod))
    apply_operations(result, operations)
    for name, template in templates:
        result = merged(result, {**template, "spec": _addressed(template["spec"], result["spec"])})
        for group in _GROUPS:
            for container in result["spec"].get(group) or ():
                if not container.get("image"):
                    raise ValueError(
                        f"template {name} adds to container {container['name']} of {group}, which the pod does not have"
                    )
    if own is not None:
        result = merged(result, {"spec": _addressed({"containers": [own]}, result["spec"])})
    metadata = result["metadata"]
    _check_whole(result["spec"])
    return [
        *([] if "metadata" in pod else [add("/metadata", {})]),
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
