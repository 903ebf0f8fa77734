"""Which VirtualService sidecars follow for a host: everybody's, and those of namespaces that see another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from refmesh.api.routing import Destination
from refmesh.api.stream_routes import MESH
from refmesh.api.virtual_service import VirtualService
from refmesh.config.model import Snapshot
from refmesh.config.outside import hosts_outside
from refmesh.discovery.rules import with_targets
from refmesh.discovery.settings import MeshSettings

__all__ = ["EVERYBODY", "by_host", "calling", "wider_names"]

EVERYBODY = ""


def by_host(
    snapshot: Snapshot, settings: MeshSettings
) -> tuple[dict[str, VirtualService], dict[str, dict[str, VirtualService]]]:
    """The VirtualServices in the mesh by host: for everybody, and where a namespace has others, for that."""
    by_age = sorted(snapshot.virtual_services.values(), key=lambda item: item.meta.age_key)
    by_age = [item for item in by_age if MESH in item.gateways]
    owners: dict[str, str] = {}
    if any(host.startswith("*") for item in by_age for host in item.hosts):
        owners |= {one.name: EVERYBODY for one in hosts_outside(snapshot)}
        owners |= {service.host(settings.domain): service.namespace for service in snapshot.services.values()}
    everybody = _in_force([item for item in by_age if not item.exported], owners, settings)
    named = frozenset[str]().union(*(item.exported for item in by_age))
    found = {}
    for namespace in sorted(named & snapshot.namespaces.keys()):
        # What a namespace keeps to itself is its own choice; of the others the oldest decides, as everywhere.
        speaking = sorted(
            (item for item in by_age if item.speaks_to(namespace)),
            key=lambda item: item.exported != {item.meta.namespace},
        )
        seen = _in_force(speaking, owners, settings)
        if other := {host: item for host, item in seen.items() if everybody.get(host) is not item}:
            found[namespace] = other
    return everybody, found


def _in_force(
    items: Iterable[VirtualService], owners: Mapping[str, str], settings: MeshSettings
) -> dict[str, VirtualService]:
    """By host the first of these."""
    named = [(host, item) for item in items for host in item.hosts]
    virtual: dict[str, VirtualService] = {}
    for host, item in named:
        virtual.setdefault(host, item)
    _spread(virtual, [one for one in named if one[0].startswith("*")], owners, settings)
    return virtual


def _spread(
    virtual: dict[str, VirtualService],
    named: Iterable[tuple[str, VirtualService]],
    owners: Mapping[str, str],
    settings: MeshSettings,
) -> None:
    """Give each host that there is the VirtualService of the closest wildcard, where none is for it alone.

    `named`: the wildcards, the first of each first; `owners`: the namespace of each host. Nobody takes over Services of
    other namespaces by the way: a wildcard covers those of its VirtualService's own namespace, and in the root
    namespace those of all.
    """
    oldest: dict[tuple[str, str], tuple[int, VirtualService]] = {}
    for place, (name, item) in enumerate(named):
        oldest.setdefault((name, item.meta.namespace), (place, item))
        oldest.setdefault((name, EVERYBODY), (place, item))
    if not oldest:
        return
    for host, owner in owners.items():
        speaking = {owner, settings.root_namespace} if owner != EVERYBODY else {EVERYBODY}
        for name in wider_names(host):
            found = [oldest[name, namespace] for namespace in speaking if (name, namespace) in oldest]
            if found:
                virtual.setdefault(host, min(found, key=lambda one: one[0])[1])
                break


def wider_names(host: str) -> Iterator[str]:
    """Every wildcard that covers a host, the closest first."""
    _, dot, rest = host.partition(".")
    while dot:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")


def calling(virtual: VirtualService, outside: Mapping[str, str]) -> VirtualService:
    """The VirtualService with hosts outside called by their own names."""

    def named(target: Destination) -> Destination:
        return replace(target, host=outside.get(target.host, target.host))

    return replace(
        virtual,
        hosts=tuple(outside.get(host, host) for host in virtual.hosts),
        rules=tuple(with_targets(rule, named) for rule in virtual.rules),
        streams=tuple(replace(rule, destinations=tuple(map(named, rule.destinations))) for rule in virtual.streams),
    )
