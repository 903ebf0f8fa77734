"""From Istio's Gateways and VirtualServices to the ports, chains and sites of a gateway workload.

A Gateway speaks to the workloads that its selector picks, in any namespace; its certificates are beside the workload.
Of Gateways that want one port in different ways, the oldest decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from refmesh.api.hostnames import covers, intersection
from refmesh.api.istio_gateway import IstioGateway, Server, ServerHost
from refmesh.api.routing import Redirect, Rule
from refmesh.api.virtual_service import VirtualService
from refmesh.config.classic_servers import classic_gateways, credentials_of
from refmesh.config.model import Pod
from refmesh.discovery.attachments import Attachments, rule_for
from refmesh.discovery.doors import Chain, GatewayPort, Site, roots_name, secret_name
from refmesh.ingress.names import usable_port

__all__ = ["classic_ports"]

_TO_HTTPS = Rule(redirect=Redirect(scheme="https", status=301))


def classic_ports(attachments: Attachments, pod: Pod) -> tuple[GatewayPort, ...]:
    """The ports that Istio's Gateways open at a pod."""
    by_port: dict[int, list[tuple[IstioGateway, int, Server]]] = {}
    for gateway in classic_gateways(attachments.snapshot, pod):
        for index, server in enumerate(gateway.servers):
            found = by_port.setdefault(server.port, [])
            if usable_port(server.port) and all(bool(one.credential) == bool(server.credential) for _, _, one in found):
                found.append((gateway, index, server))
    made = {port: _chains(attachments, pod, servers) for port, servers in by_port.items()}
    return tuple(GatewayPort(port, chains) for port, chains in sorted(made.items()) if chains)


def _chains(attachments: Attachments, pod: Pod, servers: list[tuple[IstioGateway, int, Server]]) -> tuple[Chain, ...]:
    if not servers:
        return ()
    if not servers[0][2].credential:
        sites: dict[str, list[Rule]] = {}
        for gateway, _, server in servers:
            _add_sites(sites, attachments, gateway, server)
        return (Chain(f"http.{servers[0][2].port}", _as_sites(sites)),)
    found, taken = list[Chain](), set[str]()
    demanding = {host.name for _, _, server in servers if server.mutual for host in server.hosts}
    for gateway, index, server in servers:
        held = credentials_of(attachments.snapshot, pod.namespace, server)
        names = tuple(host.name for host in server.hosts if host.name not in taken)
        if held.problem or not names:
            continue
        taken.update(names)
        sites = {}
        _add_sites(sites, attachments, gateway, server)
        name = f"https.{server.port}.{gateway.meta.namespace}.{gateway.meta.name}.{index}"
        # A server for every host has no names: Envoy knows no wildcard for all.
        made = Chain(
            name,
            _guarded(_as_sites(sites), names, demanding),
            () if "" in names else names,
            (secret_name(held.certificate),),
            roots_name(held.roots) if held.roots is not None else "",
        )
        found.append(made)
    return tuple(found)


def _guarded(sites: tuple[Site, ...], names: tuple[str, ...], demanding: set[str]) -> tuple[Site, ...]:
    """The sites of a chain without those for which another asks for a certificate: a client could choose its SNI so."""
    others = {host for host in demanding - set(names) if any(covers(name, host) for name in names)}
    kept = tuple(site for site in sites if not any(covers(host, site.domain) for host in others))
    return (*kept, *(Site(host, (), misdirected=True) for host in sorted(others)))


def _as_sites(sites: dict[str, list[Rule]]) -> tuple[Site, ...]:
    return tuple(Site(name or "*", tuple(rules)) for name, rules in sorted(sites.items()))


def _add_sites(sites: dict[str, list[Rule]], attachments: Attachments, gateway: IstioGateway, server: Server) -> None:
    """Each host with the rules of the VirtualServices for it, the oldest first."""
    if server.redirect:
        for host in server.hosts:
            sites.setdefault(host.name, []).append(_TO_HTTPS)
        return
    virtual = sorted(attachments.snapshot.virtual_services.values(), key=lambda item: item.meta.age_key)
    for item in virtual:
        held = [rule_for(rule, server.port, "", {}) for rule in item.rules_for(gateway.name)]
        rules = [attachments.with_ports(rule, server.port) for rule in held if rule is not None]
        for name in dict.fromkeys(_common(item, server.hosts)):
            sites.setdefault(name, []).extend(rules)


def _common(item: VirtualService, hosts: tuple[ServerHost, ...]) -> Iterator[str]:
    """The hosts that a VirtualService and a server both speak of."""
    for host in hosts:
        if host.namespace in {"", item.meta.namespace}:
            for name in item.outside:
                common = intersection(host.name, name)
                if common is not None:
                    yield common
