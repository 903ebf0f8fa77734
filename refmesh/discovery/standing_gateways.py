"""What became of a Gateway of Istio's: which of its servers are open at a workload."""

from __future__ import annotations

from refmesh.api.istio_gateway import IstioGateway
from refmesh.config.classic_servers import classic_gateways, closed
from refmesh.config.model import Key
from refmesh.config.standing import Finding, Standing
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.classic import ports_taken
from refmesh.ingress.names import usable_port

__all__ = ["GatewayStandings"]


class GatewayStandings:
    """Judges Gateways."""

    def __init__(self, attachments: Attachments) -> None:
        self._picked: dict[Key, set[str]] = {}
        self._problems: dict[Key, dict[int, Finding]] = {}
        snapshot = attachments.snapshot
        for pod in snapshot.pods.values() if snapshot.istio_gateways else ():
            gateways = classic_gateways(snapshot, pod)
            taken = ports_taken(snapshot, pod) if gateways else {}
            opened = {(gateway.meta, index) for found in taken.values() for gateway, index, _ in found}
            for gateway in gateways:
                key = (gateway.meta.namespace, gateway.meta.name)
                self._picked.setdefault(key, set()).add(pod.namespace)
                for index, server in enumerate(gateway.servers):
                    # What Secrets there are elsewhere is not for whoever guesses their names to learn; the log says it.
                    if pod.namespace == gateway.meta.namespace and (why := closed(snapshot, pod, server)):
                        found = Finding("InvalidCertificateRef", f"spec.servers[{index}] {why}")
                    elif not usable_port(server.port):
                        word = f"spec.servers[{index}]: port {server.port} is the proxy's own"
                        found = Finding("PortUnavailable", word)
                    elif (gateway.meta, index) not in opened:
                        older = taken[server.port][0][0]
                        word = f"spec.servers[{index}]: Gateway {older.name} has port {server.port} in another way"
                        found = Finding("Conflicted", word)
                    else:
                        continue
                    self._problems.setdefault(key, {})[index] = found

    def namespaces(self, gateway: IstioGateway) -> set[str]:
        """Where the workloads of a Gateway are."""
        return self._picked.get((gateway.meta.namespace, gateway.meta.name), set())

    def of(self, item: IstioGateway) -> Standing:
        """What became of it."""
        key = (item.meta.namespace, item.meta.name)
        if key not in self._picked:
            labels = ", ".join(f"{name}={value}" for name, value in item.selector)
            missing = (Finding("TargetNotFound", f"no gateway workload has the labels {labels}"),)
            return Standing(missing, missing, refers=True)
        problems = self._problems.get(key, {})
        found = tuple(problem for _, problem in sorted(problems.items()))
        unresolved = tuple(one for one in found if one.reason == "InvalidCertificateRef")
        whole = len(problems) == len(item.servers)
        return Standing(found if whole else (), unresolved, () if whole else found, refers=True)
