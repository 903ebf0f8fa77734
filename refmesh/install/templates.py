"""The injector's templates at install: their file, their ConfigMap, and the API server's opinion of what they make."""

from __future__ import annotations

import asyncio
import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refmesh.errors import UsageProblem
from refmesh.injector.containers import INIT
from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import BadPod, Config, Skip, patch
from refmesh.injector.policy import NAMESPACE_LABEL, POD_LABEL, PROXY
from refmesh.injector.templates import ANNOTATION, CONFIG_MAP, FILE, NONE, SIDECAR, BadTemplate, Templates, parse
from refmesh.install.options import NAMESPACE
from refmesh.kubeclient import KubeError

if TYPE_CHECKING:
    from refmesh.kubeclient import Kube

__all__ = ["Given", "config_map", "load", "try_out"]

Object = dict[str, Any]
_REFUSED = {400, 422}
"""Of these the API server says that the pod is wrong; others are about who may do what."""


@dataclass(frozen=True)
class Given:
    """Templates as somebody gave them."""

    path: str = ""
    text: str = ""
    templates: Templates = NONE

    @property
    def mark(self) -> dict[str, str]:
        """The annotation by which a control plane with other templates is another one."""
        return {"refmesh.io/templates": hashlib.sha256(self.text.encode()).hexdigest()[:16]} if self.text else {}


def load(path: Path | None) -> Given:
    """Read a file of templates; none without a path. Raises `UsageProblem` that names file and field."""
    if path is None:
        return Given()
    try:
        text = path.read_text(encoding="utf-8")
        return Given(str(path), text, parse(text))
    except BadTemplate as error:
        raise UsageProblem(f"{path}: {error}.") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageProblem(f"The templates {path} cannot be read: {why}.") from error


def config_map(given: Given, labels: Mapping[str, str]) -> Object:
    """Return what the control plane reads; it is there always, so that an install without templates takes them away."""
    metadata = {"name": CONFIG_MAP, "namespace": NAMESPACE, "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FILE: given.text}}


async def try_out(kube: Kube, given: Given, config: Config) -> None:
    """Have the API server judge a pod with each template, in a dry run. Raises `UsageProblem`."""
    await asyncio.gather(*(_try_one(kube, given, name, config) for name in given.templates.named))


async def _try_one(kube: Kube, given: Given, name: str, config: Config) -> None:
    pod = sample(given, name, config)
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    try:
        await kube.request("POST", "/api/v1/namespaces/default/pods", pod, query=query)
    except KubeError as error:
        if error.status in _REFUSED:
            raise UsageProblem(f"{given.path}: templates.{name}: a pod with it is refused: {error.problem}") from error


def sample(given: Given, name: str, config: Config) -> Object:
    """Return an injected pod that has the containers which a template adds to. Raises `UsageProblem`."""
    spec = given.templates.named[name]["spec"]
    groups = {
        group: [{"name": one["name"], "image": "app"} for one in spec.get(group) or () if _is_users(one)]
        for group in ("initContainers", "containers")
    }
    groups["containers"] = groups["containers"] or [{"name": "refmesh-template", "image": "app"}]
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "refmesh-template-", "annotations": {ANNOTATION: f"{SIDECAR},{name}"}},
        "spec": groups,
    }
    try:
        operations = patch(pod, {NAMESPACE_LABEL: "enabled"}, replace(config, templates=given.templates))
    except BadPod as error:
        raise UsageProblem(f"{given.path}: templates.{name}: {error}.") from error
    if isinstance(operations, Skip):
        raise UsageProblem(f"{given.path}: templates.{name}: {operations.reason}.")
    result = copy.deepcopy(pod)
    apply_operations(result, operations)
    result["metadata"]["labels"][POD_LABEL] = "false"  # it is what the webhook would make of it
    return result


def _is_users(container: Mapping[str, Any]) -> bool:
    """Whether a container of a template is one that the pod must have already."""
    return container["name"] not in {PROXY, INIT} and not container.get("image")
