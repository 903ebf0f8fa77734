"""INJ-09, INJ-10 and INJ-14: what admission makes of a pod that is never started."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from conformance.catalogue import check
from conformance.checks.bystanders import containers, own_account, strangers_in
from conformance.checks.capture_judges import Admitted
from conformance.checks.injection import changes_pods, differences, tokenless
from conformance.checks.injection_judges import (
    Again,
    Kept,
    OnNode,
    judge_again,
    judge_kept,
    judge_on_node,
)
from conformance.checks.joining import GROUND
from conformance.context import Context
from conformance.ground import pod_marks, render_metadata
from conformance.intents import Inject, Scope
from fixtures.kube import ApiProblem
from fixtures.kube.containers import containers_of

__all__ = ["admitted", "gated"]

_NO_ANSWER = {404, 409, 429}
"""Of what the API server answers where it creates nothing, what says nothing of the pod; 500 does, where a webhook that
must be asked does not answer."""
_LABELS: Mapping[str, str] = {}
ACCOUNT = "securityContext"
AUTHORS = (
    *(ACCOUNT, "resources", "image", "command", "args", "env", "envFrom", "ports", "lifecycle"),
    *("volumeMounts", "workingDir"),
)
"""Fields of a container that belong to its author; probes are not among them, a mesh must lead those elsewhere."""


def gated(
    ctx: Context, name: str, *, labels: Mapping[str, str] = _LABELS, annotations: Mapping[str, str] = _LABELS
) -> dict[str, Any]:
    """The pod of `kept.yaml`."""
    body: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("kept.yaml").read_text())
    body["metadata"] |= {"name": name, "annotations": dict(annotations)}
    body["metadata"]["labels"] |= labels
    for container in (*body["spec"]["initContainers"], *body["spec"]["containers"]):
        container["image"] = ctx.image
    return body


def admitted(ctx: Context, what: str, body: Mapping[str, Any], place: str) -> tuple[Admitted, dict[str, Any]]:
    """Create a pod, and what came of it. A refusal of the API server is an outcome like any other."""
    space = ctx.space(place)
    meshed = next(one for one in ctx.ground.places if one.name == place)
    own = pod_marks(ctx.adapter, meshed)
    made = copy.deepcopy(dict(body))
    for part, extra in (("labels", own.labels), ("annotations", own.annotations)):
        made["metadata"][part] = {**extra, **(made["metadata"].get(part) or {})}
    try:
        ctx.kube.apply(ctx.dressing.on(made), namespace=space)
    except ApiProblem as problem:
        if problem.without_rights or problem.status in _NO_ANSWER or not 400 <= problem.status <= 500:
            raise
        return Admitted(what, str(problem.problem)), {}
    found = ctx.kube.get("v1", "Pod", body["metadata"]["name"], space) or {"spec": {"containers": []}}
    written, others = set(containers(body)), strangers_in(ctx)
    has = tuple(one for one in containers(found) if one not in others)
    return Admitted(what, "", has, tuple(one for one in has if one not in written)), found


@check(
    id="INJ-09",
    title="A pod on its node's network is not injected",
    proves=("injection", "host network"),
    judge=judge_on_node,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
)
def on_node(ctx: Context) -> OnNode:
    """Pods with hostNetwork, opted in by their namespace and by themselves; never started, only admitted."""
    changes_pods(ctx)
    own = render_metadata(ctx.adapter, Inject(Scope.POD))

    def on_network(name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, Any]:
        body = gated(ctx, name, labels=labels, annotations=annotations)
        body["spec"]["hostNetwork"] = True
        return body

    return OnNode(
        opted_in=(
            admitted(ctx, "a pod in an opted-in namespace", on_network("node", {}, {}), "lax")[0],
            admitted(ctx, "a pod that opts in itself", on_network("node", own.labels, own.annotations), "out")[0],
        ),
        beside=admitted(ctx, "the same without hostNetwork", gated(ctx, "beside"), "lax")[0],
    )


SERVER_SIDE = ("nodeName", "priority", "preemptionPolicy", "serviceAccount")


def again(pod: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A created pod as a manifest of another one."""
    meta = pod["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": dict(meta.get("labels", {})),
            "annotations": dict(meta.get("annotations", {})),
        },
        "spec": {key: value for key, value in pod["spec"].items() if key not in SERVER_SIDE},
    }


@check(
    id="INJ-10",
    title="An injected pod is not injected again",
    proves=("injection", "idempotence"),
    judge=judge_again,
    ground=GROUND,
    requires=("INJ-01",),
    reference="Kubernetes, Dynamic Admission Control: reinvocation policy",
)
def twice(ctx: Context) -> Again:
    """Create a pod, then create what came of it, twice over."""
    changes_pods(ctx)
    first, made = admitted(ctx, "the pod", gated(ctx, "once"), "lax")
    later = []
    for time in ("second", "third"):
        if not made:
            break
        found, made = admitted(ctx, f"what came of it, created a {time} time", again(made, f"once-{time}"), "lax")
        later.append(found)
    return Again(first, tuple(later))


@check(
    id="INJ-14",
    title="The application's privileges and resources stay as they are",
    proves=("injection", "no side effects"),
    judge=judge_kept,
    ground=GROUND,
    requires=("INJ-01",),
    reference="Kubernetes, Dynamic Admission Control: side effects",
)
def kept(ctx: Context) -> Kept:
    """Compare an injected pod with the same one outside of the mesh, which the API server completes just as well."""
    changes_pods(ctx)
    body = gated(ctx, "kept")
    outside, plain = admitted(ctx, "the pod outside of the mesh", body, "out")
    found, pod = admitted(ctx, "the pod", body, "lax")
    if outside.added or not plain or not pod:
        return Kept(None, None)
    manifest, injected = authored(plain, body, pod), authored(pod, body, plain)
    return Kept(manifest, injected, tuple(differences(manifest, injected)), found.added)


def authored(pod: Mapping[str, Any], body: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What the author of a pod said of privileges, resources and programs.

    Not what the cluster gives this pod and its `other` one alike, in each namespace by other values.
    """
    said, elsewhere, written = (_by_container(one) for one in (pod, other, body))

    def own(name: str) -> dict[str, Any] | None:
        if name not in said:
            return None
        account = own_account(*(one.get(name, {}).get(ACCOUNT) for one in (said, elsewhere, written)))
        kept = {key: value for key, value in said[name].items() if key in AUTHORS and key != ACCOUNT}
        return kept | ({} if not account else {ACCOUNT: account})

    return {
        ACCOUNT: own_account(*(one["spec"].get(ACCOUNT) for one in (pod, other, body))),
        "containers": {name: own(name) for name in containers(body)},
    }


def _by_container(pod: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {one["name"]: one for one in containers_of({"spec": tokenless(pod["spec"])})}
