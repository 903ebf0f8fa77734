"""INJ: pods get a proxy where they opt in, and nowhere else.

Two independent proofs each time: what the API server says the pod consists of, and how its network behaves: a proxy in
the path answers a TLS handshake on a port where the application speaks plaintext only, and hides the caller's address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conformance.adapters import Rendered
from conformance.catalogue import check, place
from conformance.checks.bystanders import OURS, containers, mutators, strangers
from conformance.checks.handshakes import to_proxy
from conformance.context import LIMITS, Context, NotExpressible, Pod
from conformance.ground import Ground, Place, Svc, Workload, pod_by_pod
from conformance.intents import Inject, Mode, MtlsMode, NoInject, Scope
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Batch
from reports.model import Evidence

__all__ = ["GROUND", "STRICT", "judge_injected", "judge_left_alone", "judge_untouched"]

STRICT = Place("strict", meshed=True)
"""A namespace without a pod, for one that a check makes by itself."""
GROUND = place(
    Ground(
        name="inj",
        order=5,
        places=(Place("in", meshed=True), Place("out"), STRICT),
        workloads=(
            Workload("server", "in"),
            Workload("optout", "in", pod="no-inject"),
            Workload("optin", "out", pod="inject"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(Svc("server", "in", "server"), Svc("optout", "in", "optout"), Svc("optin", "out", "optin")),
        standing=lambda spaces: (MtlsMode(spaces[STRICT.name], Mode.STRICT),),
    )
)


@dataclass(frozen=True)
class Behaviour:
    """One pod, as the API server and the network show it."""

    pod: str
    added: tuple[str, ...]
    """Containers that its template does not have, and that not every pod of the cluster is given."""
    caller: str
    """Address of the client that asked."""
    peers: tuple[str, ...]
    """The caller's address as the application saw it, once per request; none where the mesh refuses plaintext."""
    tls_answered: bool
    """Whether a TLS handshake was answered on a port where the application speaks plaintext."""

    @property
    def answered(self) -> bool:
        """Whether anybody answered at all."""
        return self.tls_answered or bool(self.peers)

    @property
    def proxied(self) -> bool:
        """The network's testimony: somebody stands between the caller and the application."""
        return self.tls_answered or (bool(self.peers) and all(peer != self.caller for peer in self.peers))

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            f"pod {self.pod}",
            {
                "containers added": list(self.added),
                "TLS answered on the plaintext port": self.tls_answered,
                "caller": self.caller,
                "caller as the application saw it": sorted(set(self.peers)),
                "requests": len(self.peers),
            },
        )


@dataclass(frozen=True)
class LeftAlone:
    """A pod that must have no proxy beside one in the same run that must have one."""

    pod: Behaviour | None
    beside: Behaviour | None


def expressible(ctx: Context, intent: Inject | NoInject) -> Rendered:
    """The intent in the mesh's words; `NotExpressible` where it has none, or changes no pods."""
    rendered = ctx.render(intent)
    if rendered.per_node:
        raise NotExpressible("the mesh does its work outside of the pods, and changes none")
    return rendered


def changes_pods(ctx: Context) -> None:
    """`NotExpressible` where opting in changes no pods, by namespace or, where a mesh asks that, pod by pod."""
    expressible(ctx, Inject(Scope.POD if pod_by_pod(ctx.adapter) else Scope.NAMESPACE))


def observe(ctx: Context, workload: str) -> Behaviour:
    """Look at one echo pod from the API server and, from outside of the mesh, over the network."""
    pod = ctx.pod(workload)
    where = f"{pod.host}:8080"
    outsider = ctx.client(ctx.ground.outsider)
    asked = outsider.batch(Batch(url=f"http://{where}/", count=5, timeout=LIMITS.probe, fresh=True))
    shaken = outsider.batch(
        to_proxy(ctx, pod, Batch(url=f"tls://{where}", protocol="tls", count=2, timeout=LIMITS.probe))
    )
    outside = ctx.pod(ctx.ground.outsider)
    return Behaviour(
        pod=f"{pod.namespace}/{pod.name}",
        added=_added(pod, strangers(ctx.adapter.proxy, outside.object)),
        caller=outside.ip,
        peers=tuple(str(one.reply["peer"]).rpartition(":")[0] for one in asked if one.reply is not None),
        tls_answered=any(one.tls is not None and one.tls.get("server_certificate") for one in shaken),
    )


def _added(pod: Pod, others: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in containers(pod.object) if name not in OURS | others)


def judge_injected(seen: Behaviour | None) -> Judgement:
    """The pod has containers that nobody but the mesh put there, and its network shows a proxy in the path."""
    if seen is None or not seen.answered:
        return inconclusive("no answer came from the pod", *([seen.evidence] if seen else []))
    if not seen.added:
        return failed("the pod opted in and consists of its own containers only", seen.evidence)
    if not seen.proxied:
        return failed(
            f"containers were added ({', '.join(seen.added)}), but the application sees its callers directly and "
            "nobody answers TLS: no proxy is in the path",
            seen.evidence,
        )
    how = "answers TLS on the plaintext port" if seen.tls_answered else "hides the caller's address"
    return passed(f"added {', '.join(seen.added)}; the pod's network {how}", seen.evidence)


def judge_left_alone(history: LeftAlone) -> Judgement:
    """The pod has no proxy, by facts and by behaviour, while one beside it that opted in has."""
    pod, beside = history.pod, history.beside
    if pod is None or beside is None or not pod.answered or not beside.answered:
        return inconclusive("no answer came from one of the pods", *[one.evidence for one in (pod, beside) if one])
    shown = (pod.evidence, beside.evidence)
    if not (beside.added and beside.proxied):
        return failed("nothing is injected beside it either: leaving this pod alone proves nothing", *shown)
    if pod.added:
        return failed(f"the pod opted out and was given {', '.join(pod.added)}", *shown)
    if pod.proxied:
        return failed("the pod has no added container, yet a proxy stands in its path", *shown)
    return passed("the pod has its own containers only and is reached directly", *shown)


@check(
    id="INJ-01",
    title="A namespace's opt-in injects its pods",
    proves=("injection",),
    judge=judge_injected,
    ground=GROUND,
    anywhere=True,
    reference="Kubernetes admission: mutating webhook on pod create",
)
def namespace_opt_in(ctx: Context) -> Behaviour:
    """Look at a server pod of the opted-in namespace."""
    expressible(ctx, Inject(Scope.NAMESPACE))
    return observe(ctx, ctx.ground.server)


@check(
    id="INJ-02",
    title="A pod's opt-out wins over its namespace's opt-in",
    proves=("injection", "opt-out"),
    judge=judge_left_alone,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
)
def pod_opt_out(ctx: Context) -> LeftAlone:
    """Look at a pod that opts out, and at its neighbour."""
    expressible(ctx, NoInject(Scope.POD))
    return LeftAlone(observe(ctx, "optout"), observe(ctx, "server"))


@check(
    id="INJ-03",
    title="A pod's own opt-in injects it in a namespace without one",
    proves=("injection", "pod opt-in"),
    judge=judge_injected,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
)
def pod_opt_in(ctx: Context) -> Behaviour:
    """Look at a pod that opts in by itself."""
    expressible(ctx, Inject(Scope.POD))
    return observe(ctx, "optin")


@dataclass(frozen=True)
class Untouched:
    """The same pod three times: as the API server completes it, without and with an opt-in around it."""

    template: Mapping[str, Any] | None
    without: Mapping[str, Any] | None
    within: Mapping[str, Any] | None
    proxied: bool = False
    """Whether the one without an opt-in was given the mesh's proxy."""
    others: tuple[str, ...] = ()
    """Who else may have changed the pods."""


PLACED_BY_SERVER = ("nodeName", "priority", "preemptionPolicy", "serviceAccount")
"""Fields that the API server's own admission sets on every pod and not on a template."""


MARKS = ("labels", "annotations")
API_ACCESS = "kube-api-access-"
"""How the API server's admission calls the volume with a pod's token; what follows differs from pod to pod."""


def tokenless(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A pod's specification without the volume of its token, and without what mounts that."""

    def less(one: Mapping[str, Any], key: str) -> dict[str, Any]:
        kept = [item for item in one.get(key) or () if not item["name"].startswith(API_ACCESS)]
        return {name: value for name, value in one.items() if name != key} | ({key: kept} if kept else {})

    groups = [key for key in ("initContainers", "containers") if key in spec]
    return less(spec, "volumes") | {key: [less(one, "volumeMounts") for one in spec[key]] for key in groups}


def essence(item: Mapping[str, Any]) -> dict[str, Any]:
    """Labels, annotations and specification, without what the API server itself adds to any pod."""
    spec = {key: value for key, value in tokenless(item["spec"]).items() if key not in PLACED_BY_SERVER}
    meta = item.get("metadata", {})
    return {"labels": meta.get("labels") or {}, "annotations": meta.get("annotations") or {}, "spec": spec}


def differences(one: Any, two: Any, path: str = "") -> list[str]:
    """Paths at which two JSON values differ."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        found: list[str] = []
        for key in sorted({*one, *two}):
            if (key in one) != (key in two):
                found.append(f"{path}.{key} {'removed' if key in one else 'added'}")
            else:
                found.extend(differences(one[key], two[key], f"{path}.{key}"))
        return found
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [at for i, pair in enumerate(zip(one, two, strict=True)) for at in differences(*pair, f"{path}[{i}]")]
    return [] if one == two else [f"{path} changed"]


_SERVERS_OWN = re.compile(
    r"^\.spec\.(priorityClassName|imagePullSecrets|nodeSelector|tolerations|securityContext"
    r"|containers\[\d+\]\.(imagePullPolicy|resources|securityContext))\b|^\.annotations\.openshift\.io/"
)
"""What the API server's own admission may change of a pod, and not of a template: by a PriorityClass for all, the pull
secrets of the service account, a LimitRange, AlwaysPullImages, PodNodeSelector, PodTolerationRestriction, or
OpenShift's security context constraints."""


def judge_untouched(history: Untouched) -> Judgement:
    """Without an opt-in the created pod equals its template; with one around it, it does not."""
    template, without, within = history.template, history.without, history.within
    if template is None or without is None or within is None:
        return inconclusive("one of the three objects could not be read")
    changed = differences(essence(template), essence(without))
    injected = differences(essence(template), essence(within))
    evidence = Evidence(
        "differences from the template", {"without an opt-in": list(changed), "within an opt-in": list(injected)}
    )
    by_mesh = [one for one in changed if not _SERVERS_OWN.search(one)]
    if by_mesh and (history.proxied or not history.others):
        return failed(f"without an opt-in the pod was changed: {', '.join(by_mesh[:5])}", evidence)
    if by_mesh:
        whose = ", ".join(history.others[:3])
        return inconclusive(f"without an opt-in the pod was changed, by the mesh or by {whose}: "
                            f"{', '.join(by_mesh[:5])}", evidence)  # fmt: skip
    if changed:
        what = f"without an opt-in the pod was changed where the cluster may have defaults of its own: {changed[0]}"
        return inconclusive(what, evidence)
    if not injected:
        return failed("within an opt-in it stays the same too: leaving it alone proves nothing", evidence)
    return passed(f"identical without an opt-in; {len(injected)} differences within one", evidence)


@check(
    id="INJ-04",
    title="Without an opt-in a pod stays byte-identical",
    proves=("injection", "no side effects"),
    judge=judge_untouched,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/",
)
def no_opt_in(ctx: Context) -> Untouched:
    """Create `untouched.yaml` as a template, which no mesh touches, and as a pod in both namespaces."""
    body = yaml.safe_load(Path(__file__).with_name("untouched.yaml").read_text())
    body["spec"]["containers"][0]["image"] = ctx.image
    body = ctx.dressing.on(body)
    name, inside, outside = body["metadata"]["name"], ctx.space("in"), ctx.space("out")
    scope = Scope.POD if pod_by_pod(ctx.adapter) else Scope.NAMESPACE
    opted_in = expressible(ctx, Inject(scope))
    template = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": name},
        "template": {"metadata": {key: body["metadata"].get(key, {}) for key in MARKS}, "spec": body["spec"]},
    }
    ctx.kube.apply(template, namespace=outside)
    ctx.kube.apply(body, namespace=outside)
    ctx.kube.apply(_opting_in(body, opted_in) if scope is Scope.POD else body, namespace=inside)
    found = ctx.kube.get("v1", "PodTemplate", name, outside)
    without, proxy = ctx.kube.get("v1", "Pod", name, outside), ctx.adapter.proxy
    return Untouched(
        template=found["template"] if found else None,
        without=without,
        within=ctx.kube.get("v1", "Pod", name, inside),
        proxied=proxy is not None and proxy.container in containers(without or {}),
        others=mutators(ctx, outside, body),
    )


def _opting_in(body: Mapping[str, Any], marks: Rendered) -> dict[str, Any]:
    """The same pod, with an opt-in of its own."""
    meta = body["metadata"]
    labels = {**meta.get("labels", {}), **marks.labels}
    return {
        **body,
        "metadata": {**meta, "labels": labels, "annotations": {**meta.get("annotations", {}), **marks.annotations}},
    }
