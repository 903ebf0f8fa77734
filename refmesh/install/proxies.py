"""`refmesh proxy-status` and `refmesh proxy-config`: what the control plane sent, and what a proxy has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from refmesh.errors import UsageProblem
from refmesh.injector.policy import PROXY, has_proxy
from refmesh.install.debug import ask_replicas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refmesh.kubeclient import Kube

__all__ = ["PARTS", "envoy_config", "heard_of", "proxy_status", "rows_of", "section", "status_row"]

PARTS = ("bootstrap", "cluster", "endpoint", "listener", "route", "secret")
Row = dict[str, Any]


async def heard_of(kube: Kube) -> tuple[list[dict[str, Any]], int]:
    """Return what the control plane's replicas tell of their proxies, sorted by name, and how many replicas are silent.

    Raises `UsageProblem` where there is no replica, `EnvironmentProblem` where not one answers.
    """
    replicas, silent = await ask_replicas(kube, "proxies")
    proxies = (proxy for page in replicas for proxy in page)
    return sorted(proxies, key=lambda proxy: str(proxy.get("proxy"))), silent


async def proxy_status(kube: Kube) -> list[Row]:
    """Return one row for each connected proxy. Raises as `heard_of` does."""
    proxies, _ = await heard_of(kube)
    return [status_row(proxy) for proxy in proxies]


def status_row(proxy: dict[str, Any]) -> Row:
    """Return one line: what each kind of resource stands at, in istioctl's words."""
    types = proxy.get("types") or {}
    return {"proxy": proxy.get("proxy")} | {kind: _word(types.get(kind)) for kind in ("CDS", "LDS", "EDS", "RDS")}


def _word(state: dict[str, Any] | None) -> str:
    if state is None:
        return "NOT SENT"
    if state.get("rejected"):
        more = f" ({state['kept']} resources)" if state.get("kept", 1) > 1 else ""
        return f"REJECTED: {state['rejected']}{more}"
    return "SYNCED" if state.get("acknowledged") else "STALE"


async def envoy_config(kube: Kube, pod: str, namespace: str) -> dict[str, Any]:
    """Return a proxy's whole configuration, as its admin port shows it. Raises `UsageProblem` if it has no proxy."""
    found = await kube.get("v1", "pods", pod, namespace)
    if found is None:
        raise UsageProblem(f"There is no pod {pod} in namespace {namespace}.")
    if not has_proxy(found["spec"]):
        raise UsageProblem(f"Pod {namespace}/{pod} is not injected.")
    page = "/config_dump?include_eds"
    output = await kube.exec(namespace, pod, PROXY, ["python", "-m", "refmesh.agent.hooks", "admin", page])
    return dict(json.loads(output))


def rows_of(dump: dict[str, Any], part: str) -> list[Row]:
    """Return one line for each resource of a kind, for a table. Secrets come without their content."""
    return sorted(_rows(dump, part), key=lambda row: [str(value) for value in row.values()])


def _rows(dump: dict[str, Any], part: str) -> Iterator[Row]:
    for section in dump.get("configs") or ():
        kind = str(section.get("@type", "")).rpartition(".")[2]
        for state, entry in _entries(section):
            if part == "cluster" and kind == "ClustersConfigDump":
                cluster = entry.get("cluster") or {}
                yield {"name": cluster.get("name"), "type": cluster.get("type", "EDS"), "state": state}
            elif part == "listener" and kind == "ListenersConfigDump":
                listener = (entry.get("active_state") or entry).get("listener") or {}
                address = (listener.get("address") or {}).get("socket_address") or {}
                where = f"{address.get('address')}:{address.get('port_value')}"
                yield {"name": entry.get("name") or listener.get("name"), "address": where, "state": state}
            elif part == "route" and kind == "RoutesConfigDump":
                route = entry.get("route_config") or {}
                hosts = [host.get("name") for host in route.get("virtual_hosts") or ()]
                yield {"name": route.get("name", ""), "virtual hosts": ", ".join(map(str, hosts)), "state": state}
            elif part == "endpoint" and kind == "EndpointsConfigDump":
                yield from _endpoints(entry.get("endpoint_config") or {})
            elif part == "secret" and kind == "SecretsConfigDump":
                yield {"name": entry.get("name"), "updated": entry.get("last_updated", ""), "state": state}


def _entries(section: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, entries in section.items():
        if isinstance(entries, list):
            state = key.partition("_")[0]
            yield from ((state, entry) for entry in entries if isinstance(entry, dict))


def _endpoints(assignment: dict[str, Any]) -> Iterator[Row]:
    for group in assignment.get("endpoints") or ():
        place = group.get("locality") or {}
        for host in group.get("lb_endpoints") or ():
            address = host.get("endpoint", {}).get("address", {}).get("socket_address", {})
            yield {
                "cluster": assignment.get("cluster_name"),
                "address": f"{address.get('address')}:{address.get('port_value')}",
                "health": host.get("health_status", "UNKNOWN"),
                "priority": group.get("priority", 0),
                "locality": "/".join(place[part] for part in ("region", "zone", "sub_zone") if place.get(part)),
            }


def section(dump: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """Return the sections of a kind as Envoy gives them, for JSON and YAML."""
    wanted = {"bootstrap": "BootstrapConfigDump"}.get(part, f"{part.capitalize()}sConfigDump")
    return [entry for entry in dump.get("configs") or () if str(entry.get("@type", "")).endswith(wanted)]
