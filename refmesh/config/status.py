"""Writes back to routes of Gateway API what became of them: attached or not, backends resolved or not.

`wanted_parents` is the pure part. Entries of other controllers in the same status are kept as they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp

from refmesh.api.gateway_route import GatewayRoute
from refmesh.api.http_route import HTTPRoute
from refmesh.api.meta import Rejected
from refmesh.config.model import Key, Protocol, Snapshot
from refmesh.config.references import backend_problem
from refmesh.kubeclient import Kube, KubeError

__all__ = ["CONTROLLER", "StatusWriter", "wanted_parents"]

log = logging.getLogger(__name__)

CONTROLLER = "refmesh.io/mesh-controller"
_RETRY_SECONDS = 2.0
_PLURALS = {"HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes"}


def wanted_parents(snapshot: Snapshot, kind: str, key: Key, raw: Mapping[str, Any], now: str) -> list[Any] | None:
    """The list that `status.parents` should be; None where it is right already or the route is not ours."""
    generation = int((raw.get("metadata") or {}).get("generation") or 0)
    present = list(((raw.get("status") or {}).get("parents")) or [])
    routes: Mapping[Key, GatewayRoute] = snapshot.grpc_routes if kind == "GRPCRoute" else snapshot.http_routes
    route, rejected = routes.get(key), snapshot.rejected.get((kind, *key))
    references = _service_parents(raw)
    wanted = []
    for reference in references:
        conditions = _conditions(snapshot, reference, key, route, rejected)
        entry = {
            "parentRef": reference,
            "controllerName": CONTROLLER,
            "conditions": [_condition(*condition, generation, now) for condition in conditions],
        }
        wanted.append(_keep_times(entry, present))
    others = [item for item in present if item.get("controllerName") != CONTROLLER]
    complete = [*others, *wanted]
    return None if complete == present else complete


def _service_parents(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    references = (raw.get("spec") or {}).get("parentRefs") or []
    return [item for item in references if item.get("kind") == "Service" and item.get("group") == ""]


def _conditions(
    snapshot: Snapshot, reference: Mapping[str, Any], key: Key, route: GatewayRoute | None, rejected: Rejected | None
) -> list[tuple[str, bool, str, str]]:
    """(type, status, reason, message) of each condition."""
    namespace, name = reference.get("namespace") or key[0], reference.get("name") or ""
    service = snapshot.services.get((namespace, name))
    if rejected is not None:
        accepted = ("Accepted", False, "UnsupportedValue", rejected.reason)
    elif service is None:
        accepted = ("Accepted", False, "NoMatchingParent", f"there is no Service {namespace}/{name}")
    elif reference.get("port") and service.port(reference["port"]) is None:
        accepted = ("Accepted", False, "NoMatchingParent", f"the Service has no TCP port {reference['port']}")
    elif (port := service.port(reference.get("port"))) is not None and port.protocol is Protocol.TCP:
        word = f"port {port.port} of the Service is said to speak TCP; name it http or grpc, or set its appProtocol"
        accepted = ("Accepted", False, "NoMatchingParent", word)
    elif isinstance(route, HTTPRoute) and (rival := _rival(snapshot, key, (namespace, name), reference.get("port"))):
        accepted = ("Accepted", False, "Conflicted", f"{rival} is attached to the same port and decides alone there")
    else:
        accepted = ("Accepted", True, "Accepted", "the route is in force")
    problems = _backend_problems(snapshot, route) if route is not None else []
    if problems:
        reason, _, message = problems[0].partition(": ")
        return [accepted, ("ResolvedRefs", False, reason, message)]
    return [accepted, ("ResolvedRefs", True, "ResolvedRefs", "every backend is known")]


def _rival(snapshot: Snapshot, key: Key, parent: Key, port: int | None) -> str:
    """The GRPCRoute that leaves an HTTPRoute nothing to decide at its parent; empty where there is none."""
    # Only routes of one namespace speak about the same clients: the producer's, or one consumer's.
    for other in sorted(snapshot.grpc_routes.values(), key=lambda item: item.meta.age_key):
        attached = any(item.key == parent and item.port in {None, port} for item in other.parents)
        if attached and other.meta.namespace == key[0]:
            return f"GRPCRoute {other.meta.namespace}/{other.meta.name}"
    return ""


def _backend_problems(snapshot: Snapshot, route: GatewayRoute) -> list[str]:
    targets = [
        target
        for rule in route.rules
        for target in (*rule.destinations, *(mirror.destination for mirror in rule.mirrors))
    ]
    return [problem for target in targets if (problem := backend_problem(snapshot, route, target))]


def _condition(kind: str, status: bool, reason: str, message: str, generation: int, now: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message[:1024],
        "observedGeneration": generation,
        "lastTransitionTime": now,
    }


def _keep_times(entry: dict[str, Any], present: list[Any]) -> dict[str, Any]:
    """A condition whose status did not change keeps the time of its last transition."""
    before: dict[str, Any] = next(
        (
            item
            for item in present
            if item.get("controllerName") == CONTROLLER and item.get("parentRef") == entry["parentRef"]
        ),
        {},
    )
    times = {item.get("type"): item for item in before.get("conditions") or []}
    for condition in entry["conditions"]:
        known = times.get(condition["type"])
        if known is not None and known.get("status") == condition["status"]:
            condition["lastTransitionTime"] = known.get("lastTransitionTime", condition["lastTransitionTime"])
    return entry


class StatusWriter:
    """Compares and writes after every snapshot while this process leads; what fails is tried again."""

    def __init__(
        self, kube: Kube, routes: Callable[[], Mapping[tuple[str, Key], Any]], leads: Callable[[], bool] = lambda: True
    ) -> None:
        self._kube = kube
        self._routes = routes
        self._leads = leads
        self._snapshot: Snapshot | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin writing."""
        self._task = asyncio.create_task(self._run(), name="write statuses")

    def offer(self, snapshot: Snapshot) -> None:
        """A new snapshot to speak about."""
        self._snapshot = snapshot
        self._wake.set()

    def wake(self) -> None:
        """Look at everything again, because this process leads from now on."""
        self._wake.set()

    async def close(self) -> None:
        """Stop writing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._snapshot is None or not self._leads():
                continue
            if not await self._write_all(self._snapshot):
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def _write_all(self, snapshot: Snapshot) -> bool:
        complete = True
        for (kind, key), raw in list(self._routes().items()):
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            parents = wanted_parents(snapshot, kind, key, raw, now)
            if parents is None:
                continue
            version = (raw.get("metadata") or {}).get("resourceVersion")
            body = {"metadata": {"resourceVersion": version}, "status": {"parents": parents}}
            try:
                await self._kube.patch(
                    "gateway.networking.k8s.io/v1", _PLURALS[kind], key[1], body, key[0], subresource="status"
                )
            except (KubeError, aiohttp.ClientError, TimeoutError, OSError) as error:
                # A conflict means that a newer object is on its way to us.
                complete = False
                log.info("status of %s %s/%s not written yet: %s", kind, *key, error)
        return complete
