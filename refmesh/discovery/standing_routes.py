"""What became of a VirtualService, place by place: at each of its hosts in the mesh, and at each of its Gateways."""

from __future__ import annotations

from collections.abc import Iterator

from refmesh.api.routing import Destination
from refmesh.api.stream_routes import MESH
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Key, Protocol, Service
from refmesh.config.standing import Finding, Standing
from refmesh.discovery.attachments import EVERYBODY, Attachments
from refmesh.discovery.classic import common_hosts
from refmesh.discovery.known_hosts import KnownHosts
from refmesh.discovery.standing_gateways import GatewayStandings

__all__ = ["RouteStandings"]


class RouteStandings:
    """Judges VirtualServices."""

    def __init__(self, attachments: Attachments, hosts: KnownHosts, gateways: GatewayStandings) -> None:
        self._attachments, self._hosts, self._opened = attachments, hosts, gateways
        self._gateways = {gateway.name: gateway for gateway in attachments.snapshot.istio_gateways.values()}

    def of(self, item: VirtualService) -> Standing:
        """What became of it."""
        key = (item.meta.namespace, item.meta.name)
        if item.is_delegate:
            return self._of_delegate(item, key)
        lost = self._attachments.delegation.problems.get(key, ())
        if lost and not item.rules and not item.streams:
            return Standing(lost, lost, refers=True)
        doors = (name for name in dict.fromkeys(item.gateways) if name != MESH)
        places = [*self._in_mesh(item), *(self._at_gateway(item, name) for name in doors)]
        problems = tuple(dict.fromkeys(problem for problem in places if problem is not None))
        named = (*problems, *lost)
        unresolved = (*(one for one in named if one.reason.endswith("NotFound")), *self._missing(item))
        nowhere = all(problem is not None for problem in places)
        return Standing(
            problems if nowhere else (), unresolved, lost if nowhere else (*named, *_idle(item)), refers=True
        )

    def _of_delegate(self, item: VirtualService, key: Key) -> Standing:
        delegation = self._attachments.delegation
        missing, lost = tuple(self._missing(item)), delegation.dropped.get(key, ())
        if key in delegation.used:
            return Standing((), missing, (*lost, *_idle(item)), refers=True)
        if not lost:
            word = "it has no hosts, and no VirtualService in a namespace that it is exported to delegates to it"
            lost = (Finding("NotDelegated", word),)
        return Standing(lost, missing, refers=True)

    def _missing(self, item: VirtualService) -> Iterator[Finding]:
        """The destinations that are not there."""
        targets = dict.fromkeys((one.host, one.port, one.subset) for one in _targets(item))
        clients = self._clients(item)
        for host, port, subset in targets:
            if (problem := self._hosts.problem(Destination(host, port, subset), clients)) is not None:
                yield problem

    def _clients(self, item: VirtualService) -> list[str]:
        """The namespaces whose DestinationRules count: those of clients and gateways that it speaks to."""
        found = item.exported or {EVERYBODY, item.meta.namespace}
        opened = (self._gateways[name] for name in item.gateways if name in self._gateways)
        homes = {home for gateway in opened for home in self._opened.namespaces(gateway) if item.speaks_to(home)}
        return sorted(found | homes)

    def _in_mesh(self, item: VirtualService) -> Iterator[Finding | None]:
        if MESH in item.gateways:
            yield from (self._at_host(item, host) for host in dict.fromkeys(item.hosts))

    def _at_host(self, item: VirtualService, host: str) -> Finding | None:
        if not self._hosts.known(host):
            which = f"that {host} covers" if host.startswith("*") else host
            return Finding("HostNotFound", f"there is no Service and no host of a ServiceEntry {which}")
        routed = self._hosts.routed(item.meta, host)
        if not routed and item.exported and not item.exported & self._attachments.snapshot.namespaces.keys():
            return Finding("NamespaceNotFound", f"there is no namespace {', '.join(sorted(item.exported))} (exportTo)")
        if not routed:
            rival = (
                self._hosts.router_of(host, sorted(item.exported) or [EVERYBODY]) if not host.startswith("*") else None
            )
            word = (
                f"{rival.title} decides for {host}"
                if rival is not None
                else f"what {host} covers follows other VirtualServices, or is of namespaces that this has no say in"
            )
            return Finding("Conflicted", word)
        problems = [self._at_service(item, service) for one in routed if (service := self._hosts.service(one))]
        return problems[0] if len(problems) == len(routed) and all(problems) else None

    def _at_service(self, item: VirtualService, service: Service) -> Finding | None:
        name = f"Service {service.namespace}/{service.name}"
        if not service.addresses:
            word = f"{name} is headless: its clients call single pods, and no route stands between"
            return Finding("NoEffect", word)
        if item.streams:
            return None
        spoken = [port for port in service.ports if port.protocol is not Protocol.TCP]
        if not spoken:
            return Finding("NoEffect", f"no port of {name} speaks HTTP; name it http or grpc, or give tcp routes")
        over = [self._attachments.attached(service, port, EVERYBODY) for port in spoken]
        return Finding("Conflicted", f"{over[0][0].meta.title} decides for {name}") if all(over) else None

    def _at_gateway(self, item: VirtualService, name: str) -> Finding | None:
        gateway = self._gateways.get(name)
        if gateway is None:
            namespace, _, short = name.partition("/")
            refused = self._attachments.snapshot.rejected.get(("IstioGateway", namespace, short))
            if refused is not None:
                # What stands in an object of another namespace is not said here.
                why = f": {refused.reason}" if namespace == item.meta.namespace else ""
                return Finding("GatewayNotFound", f"Gateway {name} is not in force{why}")
            return Finding("GatewayNotFound", f"there is no Gateway {name}")
        homes = self._opened.namespaces(gateway)
        if homes and not any(map(item.speaks_to, homes)):
            word = f"the workloads of Gateway {name} are in {', '.join(sorted(homes))}, where exportTo does not reach"
            return Finding("NotExported", word)
        if not any(True for server in gateway.servers for _ in common_hosts(item, server.hosts)):
            return Finding("NoMatchingHost", f"no server of Gateway {name} is for a host of it")
        return None


def _idle(item: VirtualService) -> tuple[Finding, ...]:
    return tuple(Finding("NoEffect", note, "WARNING") for note in item.idle)


def _targets(item: VirtualService) -> Iterator[Destination]:
    for rule in item.rules:
        yield from rule.destinations
        yield from (mirror.destination for mirror in rule.mirrors)
    for stream in item.streams:
        yield from stream.destinations
