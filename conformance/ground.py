"""A ground: the namespaces and workloads that the checks of one group share, as data. Rendering is pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from conformance.adapters import Adapter, Rendered, Unsupported
from conformance.intents import Bypass, Inject, Intent, NoInject, Scope
from fixtures.workloads.manifests import PORTS, account_manifest, client_pod, echo_deployment, service

__all__ = [
    "HTTP",
    "HTTP_AND_GRPC",
    "Ground",
    "Layer",
    "Place",
    "Svc",
    "Workload",
    "meshed_at",
    "namespace_marks",
    "needs_service",
    "needs_token",
    "nobody_joins",
    "one_port",
    "one_service",
    "pod_by_pod",
    "pod_marks",
    "render_ground",
    "render_metadata",
    "service_of",
    "space_name",
    "unfit",
]

Manifest = Mapping[str, Any]

HTTP = ("http",)
"""The ports of a service that is asked in HTTP alone."""
HTTP_AND_GRPC = ("http", "grpc")


@dataclass(frozen=True)
class Place:
    """A namespace of a ground."""

    name: str
    meshed: bool = False
    """Whether it opts into the mesh as a whole."""


@dataclass(frozen=True)
class Workload:
    """A client pod, or an echo deployment."""

    name: str
    place: str
    kind: Literal["client", "echo"] = "echo"
    app: str = ""
    """Value of its label `app`; its own name unless several workloads share a service."""
    version: str = "v1"
    replicas: int = 1
    sniffer: bool = False
    pod: Literal["", "inject", "no-inject"] = ""
    """What the pod itself says, against its namespace."""
    account: str = ""
    """A client's service account, created with it; "" means its namespace's own, or one of its name where a mesh asks
    for it. An echo always has its own."""
    probe: str = ""
    """Path of its readiness probe, asked every second; "" keeps the workload's own."""
    probed: bool = True
    """False: without any probe, so that it is Ready even where the mesh breaks probes."""
    lingers: float = 0.0
    """Seconds for which an echo serves on when it is told to end; 0 keeps the workload's own, which is one."""
    past_in: tuple[int, ...] = ()
    """Ports on which the proxy is not to stand before it."""
    past_out: tuple[int, ...] = ()
    """Ports of others that it is to reach without the proxy."""
    intents: tuple[Intent, ...] = ()
    """What else its pods ask of the mesh by labels and annotations of their own."""


@dataclass(frozen=True)
class Svc:
    """A service: several may select the same pods, so that each check has a route of its own."""

    name: str
    place: str
    app: str
    version: str = ""
    headless: bool = False
    """Without an address of its own: its name resolves to its pods."""
    ports: tuple[str, ...] = tuple(PORTS)
    """The echo's ports that it has, by name. Every proxy of the mesh is told of each, so: those that are asked for."""


@dataclass(frozen=True)
class Ground:
    """Namespaces, workloads and services, and the intents that hold before the first pod starts."""

    name: str
    places: tuple[Place, ...]
    workloads: tuple[Workload, ...]
    services: tuple[Svc, ...] = ()
    standing: Callable[[Mapping[str, str]], tuple[Intent, ...]] = lambda spaces: ()  # noqa: ARG005 - most have none
    """Given the namespaces by place: intents that are in force from the start."""
    order: int = 0
    """Lower grounds come earlier."""
    wide: bool = False
    """Whether its checks touch the whole mesh: no other check of the run is judged at the same time."""
    client: str = "client"
    """The meshed client that `Context.client()` means."""
    outsider: str = "outsider"
    """The client outside of the mesh."""
    server: str = "server"
    """The meshed server on which a requirement of another ground is judged."""

    def workload(self, name: str) -> Workload:
        """The workload with this name."""
        return next(one for one in self.workloads if one.name == name)


@dataclass(frozen=True)
class Layer:
    """The objects of one namespace, the namespace itself apart."""

    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    objects: tuple[Manifest, ...]
    asked: tuple[Manifest, ...] = ()
    """Those of the objects by which something is asked of the mesh."""


def space_name(run: str, ground: str, place: str) -> str:
    """The namespace of a place in a run: `mp-<run>-<ground>-<place>`."""
    return f"mp-{run}-{ground}-{place}".lower()


def render_metadata(adapter: Adapter, intent: Intent) -> Rendered:
    """Labels and annotations of an injection intent. A mesh without the intent marks nothing; its checks say so."""
    rendered = adapter.render(intent)
    return Rendered() if isinstance(rendered, Unsupported) else rendered


def _pod_metadata(adapter: Adapter, workload: Workload, place: Place) -> Rendered:
    asked: list[Intent] = []
    if workload.pod == "no-inject":
        asked = [NoInject(Scope.POD)]
    elif workload.pod == "inject":
        asked = [Inject(Scope.POD)]
    if workload.past_in or workload.past_out:
        asked.append(Bypass(workload.past_in, workload.past_out))
    own = Rendered() if workload.pod else pod_marks(adapter, place)
    labels, annotations = dict(own.labels), dict(own.annotations)
    for intent in (*asked, *workload.intents):
        marks = render_metadata(adapter, intent)
        labels |= marks.labels
        annotations |= marks.annotations
    return Rendered(labels=labels, annotations=annotations)


def pod_marks(adapter: Adapter, place: Place) -> Rendered:
    """What every pod of a place must carry to be where its place is: something only where a mesh asks pod by pod."""
    if place.meshed and pod_by_pod(adapter):
        return render_metadata(adapter, Inject(Scope.POD))
    return Rendered()


def pod_by_pod(adapter: Adapter) -> bool:
    """Whether the mesh has no opt-in for namespaces, so that every pod of a meshed place must opt in by itself."""
    return isinstance(adapter.render(Inject(Scope.NAMESPACE)), Unsupported)


def nobody_joins(adapter: Adapter) -> str:
    """Why no workload of a run opts in to the mesh; "" where namespaces or pods do. Many a failure follows from it."""
    ways = [adapter.render(Inject(scope)) for scope in (Scope.NAMESPACE, Scope.POD)]
    if not all(isinstance(one, Unsupported) for one in ways):
        return ""
    return "; ".join(dict.fromkeys(one.reason for one in ways if isinstance(one, Unsupported)))


def render_ground(ground: Ground, adapter: Adapter, *, run: str, image: str) -> tuple[Layer, ...]:
    """Every object of a ground. Standing intents come before the workloads, so that no pod starts without them."""
    spaces = {one.name: space_name(run, ground.name, one.name) for one in ground.places}
    standing: list[Manifest] = []
    merges: list[Manifest] = []
    for intent in ground.standing(spaces):
        rendered = adapter.render(intent)
        if isinstance(rendered, Rendered):
            standing.extend(rendered.objects)
            merges.extend(rendered.merges)
    layers = []
    for one in ground.places:
        space = spaces[one.name]
        marks = render_metadata(adapter, Inject(Scope.NAMESPACE)) if one.meshed else Rendered()
        asked = [*marks.objects, *(item for item in standing if item["metadata"]["namespace"] == space)]
        objects = [*asked]
        services = (svc for svc in _services(ground, adapter) if svc.place == one.name)
        objects.extend(service_of(svc, space, adapter, callers=tuple(spaces.values())) for svc in services)
        for workload in (workload for workload in ground.workloads if workload.place == one.name):
            opened = _callable(workload, one, adapter)
            asked.extend(opened)
            objects.extend(opened)
            objects.extend(_workload(workload, one, space, adapter, image))
        labels, annotations = namespace_marks(merges, space)
        if any(workload.pod == "inject" for workload in ground.workloads if workload.place == one.name):
            labels = {**render_metadata(adapter, Inject(Scope.POD)).namespace_labels, **labels}
        marked = {**marks.labels, **labels}, {**marks.annotations, **annotations}
        layers.append(Layer(space, *marked, tuple(objects), tuple(asked)))
    return tuple(layers)


def _callable(workload: Workload, place: Place, adapter: Adapter) -> tuple[Manifest, ...]:
    """What a mesh that denies by default needs for others to call a workload; authorization checks replace it."""
    if not place.meshed or workload.kind == "client":
        return ()
    return render_metadata(adapter, Inject(Scope.POD, workload.app or workload.name, workload.name)).objects


def namespace_marks(merges: Sequence[Manifest], name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations that merges want on a namespace, for its creation: pods may take them over but then."""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for part in merges:
        if part["kind"] == "Namespace" and part["metadata"]["name"] == name:
            labels |= part["metadata"].get("labels", {})
            annotations |= part["metadata"].get("annotations", {})
    return labels, annotations


def _services(ground: Ground, adapter: Adapter) -> tuple[Svc, ...]:
    """The ground's services, and one for each meshed pod of none where a mesh only knows pods that belong to one."""
    if not needs_service(adapter):
        return ground.services
    alone = [one for one in _meshed(ground) if not any(_selects(svc, one) for svc in ground.services)]
    return (*ground.services, *(Svc(one.name, one.place, one.app or one.name) for one in alone))


def _opt_ins(adapter: Adapter) -> tuple[Rendered, ...]:
    """The mesh's opt-ins, of a namespace and of a pod: what it asks of pods and Services in general is with them."""
    return tuple(render_metadata(adapter, Inject(scope)) for scope in Scope)


def needs_service(adapter: Adapter) -> bool:
    """Whether a mesh only knows pods that belong to a Service, and run as the service account of its name."""
    return any(one.needs_service for one in _opt_ins(adapter))


def _meshed(ground: Ground) -> list[Workload]:
    """The workloads whose pods are in the mesh."""
    places = {one.name for one in ground.places if one.meshed}
    return [one for one in ground.workloads if one.pod == "inject" or (one.place in places and not one.pod)]


def _selects(svc: Svc, workload: Workload) -> bool:
    same = (svc.place, svc.app) == (workload.place, workload.app or workload.name)
    return same and svc.version in ("", workload.version)


def needs_token(adapter: Adapter) -> bool:
    """Whether a mesh wants its pods to have the token of their service account mounted."""
    return any(one.needs_token for one in _opt_ins(adapter))


def one_port(adapter: Adapter) -> int:
    """The only port of a meshed pod that the mesh knows; 0 where it knows all."""
    return max(one.one_port for one in _opt_ins(adapter))


def meshed_at(ground: Ground, place: str) -> tuple[str, ...]:
    """The labels `app` of the echo pods of a place that are in the mesh."""
    found = [one for one in _meshed(ground) if one.place == place and one.kind == "echo"]
    return tuple(dict.fromkeys(one.app or one.name for one in found))


def one_service(adapter: Adapter) -> bool:
    """Whether a mesh starts pods of exactly one Service only."""
    return any(one.one_service for one in _opt_ins(adapter))


def unfit(ground: Ground, adapter: Adapter) -> str:
    """Why a mesh starts no pods of a ground; "" where it does. Only one that limits the Services of a pod may not."""
    if not one_service(adapter):
        return ""
    services = _services(ground, adapter)
    for one in _meshed(ground):
        found = [svc for svc in services if _selects(svc, one)]
        if len(found) != 1:
            return (
                f"the mesh starts pods of exactly one Service only, and {one.name} of these checks is in {len(found)}"
            )
    return ""


def service_of(svc: Svc, space: str, adapter: Adapter, callers: Sequence[str]) -> Manifest:
    """A Service as the mesh wants its ports to be named, and told to the namespaces of its callers."""
    selector = {"app": svc.app} | ({"version": svc.version} if svc.version else {})
    ports = [(name, PORTS[name]) for name in svc.ports]
    protocols: dict[str, str] = {}
    annotations: dict[str, str] = {}
    for one in _opt_ins(adapter):
        protocols |= one.app_protocols
        if one.exports:
            annotations[one.exports] = ",".join(callers)
    return service(
        svc.name, space, selector, ports, headless=svc.headless, app_protocols=protocols, annotations=annotations
    )


def _workload(workload: Workload, place: Place, space: str, adapter: Adapter, image: str) -> Sequence[Manifest]:
    marks = _pod_metadata(adapter, workload, place)
    if workload.kind == "client":
        by_service = workload.name if place.meshed and needs_service(adapter) else ""
        account = workload.account or by_service
        return [
            *([account_manifest(account, space)] if account else []),
            client_pod(
                workload.name,
                space,
                image=image,
                labels={"app": workload.app or workload.name, **marks.labels},
                annotations=dict(marks.annotations),
                service_account=account or None,
            ),
        ]
    objects = echo_deployment(
        workload.name,
        space,
        image=image,
        version=workload.version,
        replicas=workload.replicas,
        labels={"app": workload.app or workload.name, **marks.labels},
        annotations=dict(marks.annotations),
        env={"ECHO_LINGER_SECONDS": f"{workload.lingers:g}"} if workload.lingers else None,
        sniffer=workload.sniffer,
        probes=workload.probed,
    )
    return [_probed(item, workload.probe) for item in objects] if workload.probe else objects


def _probed(item: Manifest, path: str) -> Manifest:
    """The same object; a deployment's first container is asked on `path` every second."""
    if item["kind"] != "Deployment":
        return item
    changed: dict[str, Any] = copy.deepcopy(dict(item))
    probe = {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    changed["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe
    return changed
