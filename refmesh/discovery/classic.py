"""From Istio's Gateways and VirtualServices to the ports, chains and sites of a gateway workload.

A Gateway speaks to the workloads that its selector picks, in any namespace; its certificates are beside the workload.
Of Gateways that want one port in different ways, the oldest decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from refmesh.api.hostnames import covers, intersection, specificity
from refmesh.api.istio_gateway import IstioGateway, Server, ServerHost
from refmesh.api.routing import Redirect, Rule
from refmesh.api.virtual_service import VirtualService
from refmesh.config.classic_servers import classic_gateways, credentials_of
from refmesh.config.model import Pod, Snapshot
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.doors import Chain, GatewayPort, Site, roots_name, secret_name
from refmesh.discovery.outbound import shares
from refmesh.discovery.rules import catch_alls_last, reachable, rule_for
from refmesh.ingress.names import usable_port

__all__ = ["classic_ports", "common_hosts", "ports_taken"]

_TO_HTTPS = Rule(redirect=Redirect(scheme="https", status=301))


def classic_ports(attachments: Attachments, pod: Pod) -> tuple[GatewayPort, ...]:
    """The ports that Istio's Gateways open at a pod."""
    taken = ports_taken(attachments.snapshot, pod)
    made = {port: _chains(attachments, pod, servers) for port, servers in taken.items()}
    return tuple(GatewayPort(port, chains) for port, chains in sorted(made.items()) if chains)


def ports_taken(snapshot: Snapshot, pod: Pod) -> dict[int, list[tuple[IstioGateway, int, Server]]]:
    """The servers that share each port of a pod, with their Gateways and places there; none that want it otherwise."""
    by_port: dict[int, list[tuple[IstioGateway, int, Server]]] = {}
    for gateway in classic_gateways(snapshot, pod):
        for index, server in enumerate(gateway.servers):
            found = by_port.setdefault(server.port, [])
            if usable_port(server.port) and (not found or _shape(found[0][2]) == _shape(server)):
                found.append((gateway, index, server))
    return by_port


def _shape(server: Server) -> str:
    """What servers of one port must have in common: names in TLS can be told apart, whoever ends it."""
    return "tls" if server.credential else server.stream


def _chains(attachments: Attachments, pod: Pod, servers: list[tuple[IstioGateway, int, Server]]) -> tuple[Chain, ...]:
    if not servers:
        return ()
    if _shape(servers[0][2]) == "tcp":
        streams = (
            one for gateway, _, server in servers for one in _streams(attachments, pod.namespace, gateway, server)
        )
        return tuple(Chain(f"tcp.{servers[0][2].port}", (), shares=found) for _, found in islice(streams, 1))
    if not _shape(servers[0][2]):
        plain: dict[str, list[Rule]] = {}
        for gateway, _, server in servers:
            _add_sites(plain, attachments, pod.namespace, gateway, server)
        return (Chain(f"http.{servers[0][2].port}", _as_sites(plain)),)
    found, taken = list[Chain](), set[str]()
    demanding = {host.name for _, _, server in servers if server.mutual for host in server.hosts}
    for gateway, index, server in servers:
        if server.stream:
            found += _passed(attachments, pod.namespace, gateway, index, server, taken)
            continue
        hosts = tuple(host for host in server.hosts if host.name not in taken)
        names = tuple(dict.fromkeys(host.name for host in hosts))
        held = credentials_of(attachments.snapshot, pod.namespace, server)
        if held.problem and not server.mutual:
            continue
        # Where clients need a certificate and none can be verified, no other server lets them in without one.
        taken.update(names)
        if held.problem or not names:
            continue
        sites: dict[str, list[Rule]] = {}
        _add_sites(sites, attachments, pod.namespace, gateway, replace(server, hosts=hosts))
        others = {host for host in demanding - set(names) if any(covers(one.name, host) for one in server.hosts)}
        name = f"https.{server.port}.{gateway.meta.namespace}.{gateway.meta.name}.{index}"
        # A server for every host has no names: Envoy knows no wildcard for all.
        server_names = () if "" in names else names
        made = Chain(
            name,
            _guarded(sites, server_names or ("",), others),
            server_names,
            (secret_name(held.certificate),),
            roots_name(held.roots) if held.roots is not None else "",
        )
        found.append(made)
    return tuple(found)


def _passed(
    attachments: Attachments, namespace: str, gateway: IstioGateway, index: int, server: Server, taken: set[str]
) -> Iterator[Chain]:
    """A chain for each tls route, with the names that no chain before it has taken."""
    for number, (asked, found) in enumerate(_streams(attachments, namespace, gateway, server)):
        names = tuple(name for name in asked if name not in taken)
        taken.update(names)
        if names:
            name = f"tls.{server.port}.{gateway.meta.namespace}.{gateway.meta.name}.{index}.{number}"
            yield Chain(name, (), () if "" in names else names, shares=found, passed=True)


def _streams(
    attachments: Attachments, namespace: str, gateway: IstioGateway, server: Server
) -> Iterator[tuple[tuple[str, ...], tuple[tuple[str, int], ...]]]:
    """The tls or tcp routes of the VirtualServices for a server, the oldest first: names, and clusters by weight."""
    for item in _speaking(attachments, namespace):
        hosts = tuple(dict.fromkeys(common_hosts(item, server.hosts))) if gateway.name in item.gateways else ()
        for rule in item.streams if hosts else ():
            if rule.tls != (server.stream == "tls"):
                continue
            for asked, _ in rule.conditions(gateway.name, server.port):
                both = (intersection(host, name) for host in hosts for name in asked or ("",))
                names = tuple(dict.fromkeys(name for name in both if name is not None))
                targets = (attachments.with_port(target, server.port) for target in rule.destinations)
                yield names, shares(targets, server.port)


def _guarded(sites: dict[str, list[Rule]], names: tuple[str, ...], others: set[str]) -> tuple[Site, ...]:
    """The sites of a chain for `names` without those of `others`, for which another chain asks for a certificate.

    A client could choose its SNI so. Whose a host is, is decided as Envoy decides whose an SNI is: by the closest name.
    """
    closest = sorted({*names, *others}, key=specificity)
    kept = {
        domain: rules
        for domain, rules in sites.items()
        if next((name for name in closest if covers(name, domain)), "") not in others
    }
    return (*_as_sites(kept), *(Site(host or "*", (), misdirected=True) for host in sorted(others)))


def _as_sites(sites: dict[str, list[Rule]]) -> tuple[Site, ...]:
    return tuple(Site(name or "*", _in_order(rules)) for name, rules in sorted(sites.items()))


def _in_order(rules: list[Rule]) -> tuple[Rule, ...]:
    """A host that a server leads to HTTPS is led there whatever others say; else each finds what it asks for."""
    return (_TO_HTTPS,) if any(rule is _TO_HTTPS for rule in rules) else catch_alls_last(rules)


def _add_sites(
    sites: dict[str, list[Rule]], attachments: Attachments, namespace: str, gateway: IstioGateway, server: Server
) -> None:
    """Each host that is routed here, with the rules of the VirtualServices for it, the oldest first."""
    if server.redirect:
        for host in server.hosts:
            sites.setdefault(host.name, []).append(_TO_HTTPS)
        return
    for item in _speaking(attachments, namespace):
        held = [rule_for(rule, server.port, "", {}) for rule in item.rules_for(gateway.name)]
        rules = [attachments.with_ports(rule, server.port) for rule in reachable(filter(None, held))]
        if not rules:
            # A site without rules would answer 404 in place of one that covers its host.
            continue
        for name in dict.fromkeys(common_hosts(item, server.hosts)):
            sites.setdefault(name, []).extend(rules)


def _speaking(attachments: Attachments, namespace: str) -> list[VirtualService]:
    """The VirtualServices that there are for the gateways of a namespace, the oldest first."""
    return [item for item in attachments.by_age if item.speaks_to(namespace)]


def common_hosts(item: VirtualService, hosts: tuple[ServerHost, ...]) -> Iterator[str]:
    """The hosts that a VirtualService and a server both speak of."""
    for host in hosts:
        if host.namespace in {"", item.meta.namespace}:
            for name in item.outside:
                common = intersection(host.name, name)
                if common is not None:
                    yield common
