"""A proxy without Envoy: subscribes, warms, acknowledges and rejects as Envoy does over delta ADS."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from refmesh.discovery.resource import Encoded, ResourceType
from refmesh.discovery.stream import ProxyState, Response
from refmesh.discovery.world import Tables

C, E, _, L, R = ResourceType


@dataclass(frozen=True)
class Toy:
    """A toy world: clusters with versions, listeners with the route they name, routes with the cluster they name.

    It is what all proxies share, or what one proxy has alone.
    """

    clusters: dict[str, int] = field(default_factory=dict)
    endpoints: dict[str, int] = field(default_factory=dict)
    listeners: dict[str, int] = field(default_factory=dict)
    routes: dict[str, str] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()

    def tables(self, before: Tables | None = None) -> Tables:
        def table(kind: ResourceType, rows: dict[str, object]) -> MappingProxyType[str, Encoded]:
            found = {}
            for name, content in rows.items():
                flaw = "!bad" if name in self.bad and kind is C else ""
                found[name] = Encoded(name, f"{content}{flaw}", b"")
            fresh = MappingProxyType(found)
            # The generator keeps the object of a table that did not change; so does the toy.
            return before[kind] if before is not None and before[kind] == fresh else fresh  # type: ignore[return-value]

        return MappingProxyType(
            {
                C: table(C, dict(self.clusters)),
                E: table(E, {name: self.endpoints.get(name, 0) for name in self.clusters}),
                L: table(L, dict(self.listeners)),
                R: table(R, dict(self.routes)),
            }
        )


class SimulatedProxy:
    """Holds what it was given. `lag` keeps answers back, so that changes pile up."""

    def __init__(self) -> None:
        self.has: dict[ResourceType, dict[str, str]] = {kind: {} for kind in ResourceType}
        self.warming: set[str] = set()
        self.held_ack: list[DeltaDiscoveryRequest] = []
        self.answers: list[DeltaDiscoveryRequest] = []
        self.subscribed: dict[ResourceType, set[str]] = {E: set(), R: set()}
        self.violations: list[str] = []

    # ----------------------------------------------------------------------------------------------------- connection
    def connect(self) -> None:
        """Ask for each type. The server may answer one question before it reads the next."""
        self.warming.clear()
        self.held_ack.clear()
        self.answers.clear()
        for kind in ResourceType:
            names = sorted(self.subscribed.get(kind, ()))
            if kind in {C, L} or names:
                self.answers.append(
                    DeltaDiscoveryRequest(
                        type_url=kind.value,
                        resource_names_subscribe=names,
                        initial_resource_versions=self.has[kind],
                    )
                )

    # ------------------------------------------------------------------------------------------------------- messages
    def receive(self, response: Response) -> None:
        kind = response.kind
        flaws = [item.name for item in response.resources if item.version.endswith("!bad")]
        for item in response.resources:
            # What crosses its own unsubscription is ignored, as Envoy does.
            if item.name not in flaws and (kind not in self.subscribed or item.name in self.subscribed[kind]):
                self.has[kind][item.name] = item.version
        for name in response.removed:
            if kind is C and name in self.routed_clusters():
                self.violations.append(f"cluster {name} was removed while a route names it")
            self.has[kind].pop(name, None)
        answer = DeltaDiscoveryRequest(type_url=kind.value, response_nonce=response.nonce)
        if flaws:
            answer.error_detail.message = f"bad {flaws}"
        if kind is C:
            self.warming |= {item.name for item in response.resources if item.name not in flaws}
            self.warming -= set(response.removed)
            self.follow(E, set(self.has[C]))
            self.held_ack.append(answer)
        else:
            self.answers.append(answer)
        if kind is E:
            self.warming -= {item.name for item in response.resources} | set(response.removed)
        if kind is L:
            self.follow(R, set(self.has[L]))
        if kind is R:
            self.check_routes(response)
        if not self.warming:
            # Envoy acknowledges clusters only once they are warm.
            self.answers.extend(self.held_ack)
            self.held_ack.clear()

    def follow(self, kind: ResourceType, wanted: set[str]) -> None:
        added, dropped = wanted - self.subscribed[kind], self.subscribed[kind] - wanted
        self.subscribed[kind] = wanted
        for name in dropped:
            self.has[kind].pop(name, None)
        if added or dropped:
            self.answers.append(
                DeltaDiscoveryRequest(
                    type_url=kind.value,
                    resource_names_subscribe=sorted(added),
                    resource_names_unsubscribe=sorted(dropped),
                )
            )

    def routed_clusters(self) -> set[str]:
        return set(self.has[R].values())

    def check_routes(self, response: Response) -> None:
        for item in response.resources:
            if item.version not in self.has[C] or item.version in self.warming:
                self.violations.append(f"route {item.name} came before its cluster {item.version}")


def exchange(server: ProxyState, proxy: SimulatedProxy, now: float, *, answers: int = 1000) -> None:
    """Let both sides talk; the proxy gives at most so many answers."""
    while True:
        for response in server.responses(now):
            proxy.receive(response)
        if not proxy.answers or answers <= 0:
            return
        server.request(proxy.answers.pop(0))
        answers -= 1
