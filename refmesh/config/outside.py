"""The hosts of ServiceEntries, one by one: each at each of its ports, by the entry that decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from refmesh.api.meta import short_host
from refmesh.api.service_entry import EntryPort, ServiceEntry
from refmesh.config.model import Snapshot
from refmesh.config.references import service_of

__all__ = ["OutsideHost", "ambiguous_names", "hosts_outside"]


@dataclass(frozen=True)
class OutsideHost:
    """A host at a port."""

    name: str
    port: EntryPort
    entry: ServiceEntry


def hosts_outside(snapshot: Snapshot) -> Iterator[OutsideHost]:
    """Every host at every port; of several entries for one the oldest decides."""
    seen: set[tuple[str, int]] = set()
    for entry in sorted(snapshot.service_entries.values(), key=lambda item: item.meta.age_key):
        for port in entry.ports:
            for name in entry.hosts:
                if (name, port.number) not in seen:
                    seen.add((name, port.number))
                    yield OutsideHost(name, port, entry)


def ambiguous_names(snapshot: Snapshot, domain: str) -> dict[str, str]:
    """Hosts of ServiceEntries that read like `service.namespace`, such as example.com, by the full name of such one."""
    hosts = {host for entry in snapshot.service_entries.values() for host in entry.hosts if host.count(".") == 1}
    found = {short_host(host, "", domain): host for host in hosts}
    return {full: host for full, host in found.items() if service_of(full) not in snapshot.services}
