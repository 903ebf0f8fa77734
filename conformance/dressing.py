"""Puts what the user and the mesh want on each pod and namespace of a run: labels, tolerations, nodes, pull secrets."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.adapters import Adapter
from conformance.ground import needs_token
from conformance.settings import RunSettings
from fixtures.kube import Kube
from reports.errors import EnvironmentProblem, UsageProblem

__all__ = ["Dressed", "Dressing", "pull_secrets"]

Manifest = Mapping[str, Any]
_PULL_SECRET = "kubernetes.io/dockerconfigjson"  # noqa: S105 - the name of a type


@dataclass(frozen=True)
class Dressing:
    """Extra labels and the like. What an object already says wins over it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Manifest, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()
    """Names of secrets that are in every namespace of the run."""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    namespace_annotations: Mapping[str, str] = field(default_factory=dict)
    token: bool = False
    """Whether pods have the token of their service account mounted. Of itself no workload of ours does: none asks the
    API server for anything."""

    @classmethod
    def of(cls, settings: RunSettings, adapter: Adapter) -> Dressing:
        """What the settings of a run, and the mesh of its pods, ask for."""
        return cls(
            token=needs_token(adapter),
            labels=settings.pods.labels,
            annotations=settings.pods.annotations,
            tolerations=settings.pods.tolerations,
            node_selector=settings.pods.node_selector,
            pull_secrets=tuple(one.name for one in settings.pull_secrets),
            namespace_labels=settings.namespaces.labels,
            namespace_annotations=settings.namespaces.annotations,
        )

    def on(self, item: Manifest) -> Manifest:
        """The same object with its pods dressed; what has no pods is returned as it is."""
        dressed = copy.deepcopy(dict(item))
        pod = _pod(dressed)
        if pod is None or self == Dressing():
            return item
        meta = pod.setdefault("metadata", {})
        for key, extra in (("labels", self.labels), ("annotations", self.annotations)):
            if extra:
                meta[key] = {**extra, **meta.get(key, {})}
        spec = pod["spec"]
        if self.tolerations:
            spec["tolerations"] = [*spec.get("tolerations", ()), *self.tolerations]
        if self.node_selector:
            spec["nodeSelector"] = {**self.node_selector, **spec.get("nodeSelector", {})}
        if self.token:
            spec.pop("automountServiceAccountToken", None)
        if self.pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in self.pull_secrets]
        return dressed


class Dressed(Kube):
    """A cluster in which whatever is applied, and every namespace that is made, comes as the settings of a run say."""

    def __init__(self, kube: Kube, settings: RunSettings, adapter: Adapter) -> None:
        super().__init__(kube.api, kube.version)
        self._dressing = Dressing.of(settings, adapter)
        self._secrets = pull_secrets(kube, settings.pull_secrets)

    def apply(
        self, *objects: Manifest, namespace: str | None = None, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        """As of every cluster; pods are dressed."""
        return super().apply(*map(self._dressing.on, objects), namespace=namespace, timeout=timeout)

    def create_namespace(
        self, name: str, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
    ) -> None:
        """As of every cluster; the secrets that images are pulled with are in the namespace."""
        super().create_namespace(
            name,
            {**self._dressing.namespace_labels, **(labels or {})},
            {**self._dressing.namespace_annotations, **(annotations or {})},
        )
        self.apply(*self._secrets, namespace=name)


def _pod(item: dict[str, Any]) -> dict[str, Any] | None:
    """The pod, or the template of pods, in an object."""
    kind = item.get("kind")
    if kind == "Pod":
        return item
    if kind == "PodTemplate":
        return dict_of(item, "template")
    if kind in {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}:
        return dict_of(item["spec"], "template")
    if kind == "CronJob":
        return dict_of(item["spec"]["jobTemplate"]["spec"], "template")
    return None


def dict_of(item: dict[str, Any], key: str) -> dict[str, Any]:
    """A mapping in a manifest."""
    found: dict[str, Any] = item[key]
    return found


def pull_secrets(kube: Kube, places: Sequence[tuple[str, str]]) -> tuple[Manifest, ...]:
    """The secrets at these places, fit to be created in another namespace. Raises where one is missing or no such."""
    found = []
    for namespace, name in places:
        secret = kube.get("v1", "Secret", name, namespace)
        if secret is None:
            raise EnvironmentProblem(
                f"there is no Secret {namespace}/{name} to pull images with", fix="name another one in pull-secrets"
            )
        if secret.get("type") != _PULL_SECRET:
            raise UsageProblem(
                f"the Secret {namespace}/{name} is of type {secret.get('type')}, and images are pulled with "
                f"{_PULL_SECRET}"
            )
        head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        found.append({**head, "type": _PULL_SECRET, "data": secret.get("data", {})})
    return tuple(found)
